// Package announce is a client's side of the tracker protocol: a connection
// that carries pipelined requests ([Conn]), and the keeper of a client's
// entries on one set of trackers, with fail-over ([Group]).
package announce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// requestTimeout bounds one request: a tracker that is alive answers
	// within a few commits of its store.
	requestTimeout = 5 * time.Second
	// hashTimeout is added for a request that carries a hash string (80 MiB
	// at most).
	hashTimeout = 60 * time.Second
	// dialTimeout bounds dialling a tracker and its hello.
	dialTimeout = 5 * time.Second
	// maxOutstanding bounds the requests that wait for their replies.
	maxOutstanding = 64
)

// Dialer is how this package reaches a tracker; transport.Table is one.
type Dialer interface {
	Dial(ctx context.Context, addr string) (transport.Session, error)
}

// Conn is one session with one tracker. Its methods may be called from several
// goroutines; requests are answered in the order in which they were sent.
type Conn struct {
	sess transport.Session
	st   transport.Stream

	mu      sync.Mutex // held while a request is queued and written
	pending chan chan result
	drained chan struct{} // closed when no request will be answered any more
}

type result struct {
	reply *wire.Reply
	err   error
}

// Dial connects to the tracker at addr and exchanges hellos.
func Dial(ctx context.Context, d Dialer, addr string, self *wire.Hello) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	sess, err := d.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	st, err := greet(ctx, sess, self)
	if err != nil {
		_ = sess.Close()
		return nil, fmt.Errorf("tracker %s: %w", addr, codeOf(err))
	}
	c := &Conn{sess: sess, st: st, pending: make(chan chan result, maxOutstanding), drained: make(chan struct{})}
	go c.read()
	return c, nil
}

// greet says hello and opens the stream of requests in the same flight.
func greet(ctx context.Context, sess transport.Session, self *wire.Hello) (transport.Stream, error) {
	deadline, _ := ctx.Deadline()
	hi, err := sess.Open(ctx)
	if err != nil {
		return nil, err
	}
	b, err := wire.Append(nil, self)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(hi.SetDeadline(deadline), transport.WriteLast(hi, b)); err != nil {
		return nil, err
	}
	st, err := sess.Open(ctx)
	if err != nil {
		return nil, err
	}
	if err := wire.Write(st, &wire.Open{Kind: &wire.Open_Requests{Requests: &wire.Requests{}}}); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = sess.Close() })()
	h, err := wire.ReadHello(hi)
	if err != nil {
		return nil, err
	}
	if h.GetRole() != wire.Role_ROLE_TRACKER {
		return nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "it is no tracker but a client")
	}
	return st, hi.Close()
}

// Done is closed when the session has ended.
func (c *Conn) Done() <-chan struct{} { return c.sess.Done() }

// Close ends the session, fails the requests that are still open, and waits
// for the connection's goroutine.
func (c *Conn) Close() {
	_ = c.sess.Close()
	<-c.drained
}

// Do sends a request, followed by hashes if there are any, and waits for its
// reply. A reply with an error code is returned together with a
// [*wire.CodeError]; an error without a reply means that the session is of no
// more use.
func (c *Conn) Do(ctx context.Context, req *wire.Request, hashes []byte) (*wire.Reply, error) {
	return c.do(ctx, req, hashes, func() error { return nil })
}

// do is Do for a request that may be out of date when its turn has come: it is
// sent only if guard then returns nil, and otherwise fails with guard's error.
func (c *Conn) do(ctx context.Context, req *wire.Request, hashes []byte, guard func() error) (*wire.Reply, error) {
	timeout := requestTimeout
	if len(hashes) > 0 {
		timeout += hashTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer := make(chan result, 1)
	if err := c.send(ctx, req, hashes, answer, guard); err != nil {
		return nil, err
	}
	var r result
	select {
	case r = <-answer:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.drained:
		select {
		case r = <-answer: // it came with the last bytes
		default:
			return nil, c.sess.Err()
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if r.reply.GetError() != wire.Error_ERROR_NONE {
		return r.reply, &wire.CodeError{Code: r.reply.GetError(), Msg: r.reply.GetMessage()}
	}
	return r.reply, nil
}

func (c *Conn) send(ctx context.Context, req *wire.Request, hashes []byte, answer chan result, guard func() error) error {
	b, err := wire.Append(nil, req)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := guard(); err != nil {
		return err
	}
	select {
	case c.pending <- answer:
	case <-c.sess.Done():
		return c.sess.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	// A request cut in the middle would put the stream out of step, so a
	// write that overruns its time ends the session.
	stop := context.AfterFunc(ctx, func() { _ = c.sess.Close() })
	defer stop()
	if _, err := c.st.Write(b); err != nil {
		return codeOf(err)
	}
	if len(hashes) > 0 {
		if _, err := c.st.Write(hashes); err != nil {
			return codeOf(err)
		}
	}
	return nil
}

// read hands each reply to the request that has waited longest, until the
// session ends.
func (c *Conn) read() {
	defer close(c.drained)
	in := wire.NewReader(c.st)
	for {
		select {
		case answer := <-c.pending:
			reply := new(wire.Reply)
			err := in.Next(reply, wire.MaxMessage)
			if err != nil {
				_ = c.sess.Close()
			}
			answer <- result{reply, codeOf(err)}
		case <-c.sess.Done():
			return
		}
	}
}

// codeOf puts the words of the protocol to a transport's error code.
func codeOf(err error) error {
	var abort *transport.AbortError
	if errors.As(err, &abort) && abort.Remote && abort.Code != 0 {
		return &wire.CodeError{Code: wire.Error(abort.Code)}
	}
	var ended *transport.SessionError
	if errors.As(err, &ended) && ended.Remote && ended.Code != 0 {
		return &wire.CodeError{Code: wire.Error(ended.Code)}
	}
	return err
}

// List asks one tracker, over a session of its own, who is listed for a
// torrent: a sample of at most wire.MaxWant, and how many there are.
func List(ctx context.Context, d Dialer, addr string, self *wire.Hello, id torrentfmt.ID) ([]wire.Seeder, int, error) {
	c, err := Dial(ctx, d, addr, self)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	reply, err := c.Do(ctx, &wire.Request{Kind: &wire.Request_SeederList{
		SeederList: &wire.SeederList{TorrentId: id[:], Want: wire.MaxWant},
	}}, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("tracker %s: %w", addr, err)
	}
	seeders, err := reply.GetSeeders().Unpack()
	return seeders, int(reply.GetSeeders().GetTotal()), err
}
