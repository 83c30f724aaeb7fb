package tracker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/tracker/replica"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// helloTimeout bounds the time to a session's hello, and to the opening
	// message of a stream.
	helloTimeout = 5 * time.Second
	// idleSlack is how long beyond the lease a session without requests is
	// kept: a client that renews never meets it.
	idleSlack = time.Minute
)

// acceptPause keeps a listener that fails for a moment, for lack of files for
// instance, from spinning.
const acceptPause = 50 * time.Millisecond

// accept serves the sessions of one listener until ctx ends.
func (t *Tracker) accept(ctx context.Context, l transport.Listener) error {
	for {
		sess, err := l.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			t.log.Warn("accept failed", "addr", l.Addr(), "err", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		t.sessions.Go(func() { t.serve(ctx, sess) })
	}
}

// session is one accepted session.
type session struct {
	t      *Tracker
	sess   transport.Session
	source netip.Addr
	peer   bool            // the other end is a configured tracker
	node   registry.NodeID // its ID
	owner  registry.NodeID // who alone may change what is listed over this session; zero: anybody

	mu    sync.Mutex
	named map[registry.Addr]bool // the addresses that the client spoke for
}

func code(c wire.Error) transport.Code { return transport.Code(c) }

// serve owns a session from its acceptance to its end.
func (t *Tracker) serve(ctx context.Context, sess transport.Session) {
	s := &session{t: t, sess: sess}
	from, err := netip.ParseAddrPort(sess.RemoteAddr().String())
	if err != nil {
		_ = sess.Abort(code(wire.Error_ERROR_INTERNAL))
		return
	}
	s.source = from.Addr().WithZone("").Unmap()
	who := sourceOf(s.source)
	if !t.doors.enter(who, func() bool { return t.peers.Load().has(ctx, s.source) }) {
		_ = sess.Abort(code(wire.Error_ERROR_TOO_MANY))
		t.turnedAway(sess, "too many sessions")
		return
	}
	defer t.doors.leave(who)
	stop := context.AfterFunc(ctx, func() { _ = sess.Abort(code(wire.Error_ERROR_GOING_AWAY)) })
	defer stop()

	why := s.converse(ctx)
	var coded *wire.CodeError
	switch {
	case errors.As(why, &coded):
		t.turnedAway(sess, coded.Error())
		_ = sess.Abort(code(coded.Code))
	case errors.Is(why, wire.ErrTooLarge):
		t.turnedAway(sess, why.Error())
		_ = sess.Abort(code(wire.Error_ERROR_BAD_REQUEST))
	default:
		_ = sess.Close()
	}
}

// converse exchanges hellos and serves streams. The error says why it ended.
func (s *session) converse(ctx context.Context) error {
	hello, err := s.greet(ctx)
	if err != nil {
		return err
	}
	if hello.GetRole() == wire.Role_ROLE_CLIENT && hello.GetKeyed() {
		if s.sess.Peer().IsZero() {
			return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "it wants to be listed by its key, over a session that proves none")
		}
		if err := hello.CheckProof(s.sess.Peer()); err != nil {
			return err
		}
		s.owner = registry.NodeID(s.sess.Peer())
	}
	if hello.GetRole() == wire.Role_ROLE_TRACKER {
		configured := s.t.peers.Load()
		if !configured.has(ctx, s.source) {
			return wire.Errorf(wire.Error_ERROR_BAD_REQUEST,
				"a tracker from %v, which is none of the other trackers' addresses", s.source)
		}
		s.peer, s.node = true, registry.NodeID(hello.GetNodeId())
		defer context.AfterFunc(configured.current, func() { _ = s.sess.Abort(code(wire.Error_ERROR_GOING_AWAY)) })()
		s.t.links.called()
	}
	return s.streams(ctx)
}

func (s *session) greet(ctx context.Context) (*wire.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	st, err := s.sess.Accept(ctx)
	if err != nil {
		return nil, late(err)
	}
	deadline, _ := ctx.Deadline()
	if err := st.SetDeadline(deadline); err != nil {
		return nil, err
	}
	hello, err := wire.ReadHello(st)
	if err != nil {
		return nil, late(err)
	}
	b, err := wire.Append(nil, s.t.hello())
	if err != nil {
		return nil, err
	}
	if err := transport.WriteLast(st, b); err != nil {
		return nil, err
	}
	return hello, st.Close()
}

// late gives silence its code.
func late(err error) error {
	var t interface{ Timeout() bool }
	if errors.As(err, &t) && t.Timeout() {
		return &wire.CodeError{Code: wire.Error_ERROR_TIMEOUT}
	}
	return err
}

func (s *session) idle() time.Duration { return s.t.opts.Lease + idleSlack }

// streams serves the session's streams until it ends, is idle for too long, or
// one of them finds that it must end.
func (s *session) streams(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	places := make(chan struct{}, maxStreams)
	defer func() {
		cancel(nil)
		running.Wait()
	}()
	for {
		wait, done := context.WithTimeout(ctx, s.idle())
		st, err := s.sess.Accept(wait)
		done()
		switch {
		case err == nil:
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded) && len(places) > 0:
			continue
		default:
			return late(err)
		}
		select {
		case places <- struct{}{}:
		default:
			st.Abort(code(wire.Error_ERROR_TOO_MANY))
			continue
		}
		running.Go(func() {
			defer func() { <-places }()
			if err := s.stream(ctx, st); err != nil {
				cancel(err)
			}
		})
	}
}

// stream serves one stream. An error ends the session.
func (s *session) stream(ctx context.Context, st transport.Stream) error {
	stop := context.AfterFunc(ctx, func() { st.Abort(code(wire.Error_ERROR_GOING_AWAY)) })
	defer stop()
	defer func() { _ = st.Close() }()
	if err := st.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return ended(err)
	}
	patience := &replica.Patience{Stream: st}
	in := wire.NewReader(patience)
	var open wire.Open
	if err := in.Next(&open, wire.MaxMessage); err != nil {
		return ended(late(err))
	}
	switch open.GetKind().(type) {
	case *wire.Open_Requests:
		return ended(s.requests(ctx, st, in))
	case *wire.Open_Pull:
		if !s.peer {
			return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "a pull by one that is no tracker")
		}
		patience.Wait = replica.Dead
		err := replica.Give(ctx, st, s.t.reg, in)
		s.t.log.Debug("peer tracker stopped pulling", "from", s.source, "err", err)
		return ended(err)
	}
	return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "a stream for nothing that a tracker does")
}

// ended drops the errors of streams that the other side ended in order.
func ended(err error) error {
	var abort *transport.AbortError
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &abort) {
		return nil
	}
	return err
}
