// Package peer owns one session with one peer: the hello, the stream per
// torrent on which both sides tell which pieces they have, and the stream per
// piece on which one side fetches and the other serves. It decides nothing
// about which piece to ask for: that is the torrent's business ([Local]).
package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bits-and-blooms/bitset"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// helloTimeout bounds the exchange of hellos on an established session.
	helloTimeout = 10 * time.Second
	// openTimeout bounds the first message of a stream that the peer opened, and
	// the exchange of bitfields.
	openTimeout = 10 * time.Second
	// MaxStreams is how many streams one peer may have open with this side
	// beside its links: several times what a fetcher asks for ahead. Each may
	// hold transport.InitialCredit bytes that nobody reads.
	MaxStreams = 128
	// maxFaults is how many malformed, silent or supernumerary streams a peer is
	// forgiven at once, and faultEvery how often one more. Then its session ends.
	maxFaults  = 256
	faultEvery = time.Second
	// maxLinks is how many torrents two peers may speak of at once.
	maxLinks = 512
)

// ID identifies a node.
type ID = [wire.NodeIDSize]byte

// Self is what this node says of itself.
type Self struct {
	ID    ID
	Addr  netip.AddrPort // where others reach it; an unspecified IP is allowed
	Agent string
}

// Local is one torrent at this side. Its methods may be called from several
// goroutines and answer fast, but for Section's reader.
type Local interface {
	// Join adds a peer that has these pieces and returns those at this side.
	// Every piece gained after that is to be told with Link.Have.
	Join(l *Link, theirs *bitset.BitSet) (ours *bitset.BitSet, err error)
	// Gained and Lost tell of changes at the peer's side.
	Gained(l *Link, pieces []uint32)
	Lost(l *Link, pieces []uint32)
	// Gone ends what Join began.
	Gone(l *Link)
	// Snapshot is the pieces at this side.
	Snapshot() *bitset.BitSet
	// Pieces is how many the torrent has.
	Pieces() int
	// Serving tells that a piece is being sent, until done is called; false
	// means that nothing more is. stop is called when that begins to hold.
	Serving(stop func()) (done func(), ok bool)
	// Section reads one piece; it fails for a piece that is not here.
	Section(piece int) (*io.SectionReader, error)
	// Claim reports whether a piece may be sent to a peer now: not while another
	// has it and others nobody. With take it is about to be; Unsent follows
	// unless it goes out whole.
	Claim(l *Link, piece int, take bool) bool
	Unsent(l *Link, piece int)
	// Served counts n bytes of a piece that were sent over a transport.
	Served(n int64, scheme string)
	// Uploads are the gates that the pieces of this torrent are sent through,
	// in order.
	Uploads() []*pace.Gate
}

// Host finds torrents by ID.
type Host interface {
	Local(id torrentfmt.ID) (Local, bool)
}

// Conn is a session with one peer, after the hello.
type Conn struct {
	sess   transport.Session
	self   Self
	dialed bool
	// ID and Addr are the peer's: Addr is where it can be dialled.
	ID   ID
	Addr netip.AddrPort
	host Host

	mu    sync.Mutex
	links map[torrentfmt.ID]*Link
	// wanted are torrents that this side has asked about.
	wanted map[torrentfmt.ID]bool
	used   time.Time // when a link or a piece was last alive
	ended  bool
	open   atomic.Int32 // streams
	stride atomic.Int64 // the last [nextStride]; 0 at first
	faults *rate.Limiter
	wg     sync.WaitGroup
}

// Dial greets over a session that this side dialled.
func Dial(ctx context.Context, sess transport.Session, self Self, host Host) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	st, err := sess.Open(ctx)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := errors.Join(st.SetDeadline(deadline), say(st, self.hello())); err != nil {
		return nil, err
	}
	return greeted(ctx, sess, st, self, host, true)
}

// Accept greets over a session that the peer dialled.
func Accept(ctx context.Context, sess transport.Session, self Self, host Host) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	st, err := sess.Accept(ctx)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := st.SetDeadline(deadline); err != nil {
		return nil, err
	}
	return greeted(ctx, sess, st, self, host, false)
}

func greeted(ctx context.Context, sess transport.Session, st transport.Stream, self Self, host Host, dialed bool) (*Conn, error) {
	defer context.AfterFunc(ctx, func() { st.Abort(transport.Code(wire.Error_ERROR_TIMEOUT)) })()
	h, err := wire.ReadHello(st)
	if err != nil {
		return nil, err
	}
	if h.GetRole() != wire.Role_ROLE_CLIENT {
		return nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "it is no client but a tracker")
	}
	if err := h.CheckProof(sess.Peer()); err != nil {
		return nil, err
	}
	c := &Conn{
		sess: sess, self: self, dialed: dialed, host: host,
		ID:     ID(h.GetNodeId()),
		links:  make(map[torrentfmt.ID]*Link),
		wanted: make(map[torrentfmt.ID]bool),
		used:   time.Now(),
		faults: rate.NewLimiter(rate.Every(faultEvery), maxFaults),
	}
	if c.Addr, err = listenAddr(h.GetListenAddr(), sess); err != nil {
		return nil, err
	}
	if c.ID == self.ID {
		return nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "this is the node itself, or a copy of it: of two, one must lose its node.key")
	}
	if !dialed {
		if err := say(st, self.hello()); err != nil {
			return nil, err
		}
	}
	return c, st.Close()
}

// say sends the only message of this side on a stream.
func say(st transport.Stream, m proto.Message) error {
	b, err := wire.Append(nil, m)
	if err != nil {
		return err
	}
	return transport.WriteLast(st, b)
}

// listenAddr is where the peer can be dialled: the port that it names, at the
// session's source. Clients dial from the address that they announce, and what
// a peer says of its IP proves nothing.
func listenAddr(said string, sess transport.Session) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(said)
	if err != nil {
		return a, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "listen address %.60q: want ip:port", said)
	}
	source, err := netip.ParseAddrPort(sess.RemoteAddr().String())
	if err != nil {
		return a, fmt.Errorf("source address: %w", err)
	}
	return netip.AddrPortFrom(source.Addr().Unmap(), a.Port()), nil
}

func (s Self) hello() *wire.Hello {
	return &wire.Hello{
		Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: s.ID[:],
		ListenAddr: s.Addr.String(), Agent: s.Agent,
	}
}

// Keeps reports whether of two sessions between the same pair this one stays:
// the one dialled by the smaller node ID. Both sides come to the same answer.
func (c *Conn) Keeps() bool {
	smaller := string(c.self.ID[:]) < string(c.ID[:])
	return c.dialed == smaller
}

// Proves reports whether the session proves that the peer is the node ID.
func (c *Conn) Proves() bool { return !c.sess.Peer().IsZero() }

// Dialed reports whether this side dialled the session.
func (c *Conn) Dialed() bool { return c.dialed }

// Torrents lists the torrents that have a link.
func (c *Conn) Torrents() []torrentfmt.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.links))
}

// Wanted lists the torrents for which this side has called Join.
func (c *Conn) Wanted() []torrentfmt.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.wanted))
}

// Err is nil until the session has ended, then why.
func (c *Conn) Err() error { return c.sess.Err() }

// Replaced reports whether err is the end of a session in favour of another one
// between the same pair.
func Replaced(err error) bool {
	var ended *transport.SessionError
	return errors.As(err, &ended) && ended.Code == transport.Code(wire.Error_ERROR_DUPLICATE)
}

// Source names the peer and the way to it, for people: "tcp 127.0.0.1:7001".
func (c *Conn) Source() string { return c.sess.Scheme() + " " + c.Addr.String() }

// Scheme names the transport.
func (c *Conn) Scheme() string { return c.sess.Scheme() }

// Streams is how many are open.
func (c *Conn) Streams() int { return int(c.open.Load()) }

// Done is closed when the session has ended.
func (c *Conn) Done() <-chan struct{} { return c.sess.Done() }

// Close ends the session with a code that tells the peer why.
func (c *Conn) Close(code wire.Error) { _ = c.sess.Abort(transport.Code(code)) }

// Idle is how long no link and no piece has been alive.
func (c *Conn) Idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) > 0 {
		return 0
	}
	return time.Since(c.used)
}

// Run serves the streams that the peer opens until the session ends, then
// waits for everything that the session has started.
func (c *Conn) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { c.Close(wire.Error_ERROR_GOING_AWAY) })
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	open := make(chan struct{}, MaxStreams)
	for {
		st, err := c.sess.Accept(ctx)
		if err != nil {
			break
		}
		select {
		case open <- struct{}{}:
			c.wg.Go(func() { c.stream(ctx, st, func() { <-open }) })
		default:
			st.Abort(transport.Code(wire.Error_ERROR_TOO_MANY))
			c.fault(wire.Error_ERROR_TOO_MANY)
		}
	}
	cancel()
	_ = c.sess.Close()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.wg.Wait()
}

// stream serves one stream that the peer opened. done is called once the
// stream no longer counts against MaxStreams: a link counts against maxLinks.
func (c *Conn) stream(ctx context.Context, st transport.Stream, done func()) {
	c.open.Add(1)
	defer c.open.Add(-1)
	defer st.Close()
	done = sync.OnceFunc(done)
	defer done()
	if st.SetDeadline(time.Now().Add(openTimeout)) != nil {
		return
	}
	in := wire.NewReader(st)
	open := new(wire.Open)
	err := in.Next(open, wire.MaxOpen)
	if err != nil {
		c.refuse(st, err)
		return
	}
	switch kind := open.GetKind().(type) {
	case *wire.Open_Piece:
		err = c.serve(ctx, st, kind.Piece)
	case *wire.Open_Torrent:
		err = c.accept(st, in, kind.Torrent, done)
	default:
		err = wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "a client does not answer %T", kind)
	}
	if err != nil {
		c.refuse(st, err)
	}
}

// refuse gives a stream up with the code of what went wrong.
func (c *Conn) refuse(st transport.Stream, err error) {
	code := Refusal(err)
	if code == wire.Error_ERROR_NONE {
		return
	}
	st.Abort(transport.Code(code))
	if code == wire.Error_ERROR_BAD_REQUEST || code == wire.Error_ERROR_TIMEOUT {
		c.fault(code)
	}
}

// fault counts a stream that went wrong by the peer's doing, and ends the session
// when there are too many.
func (c *Conn) fault(code wire.Error) {
	if !c.faults.Allow() {
		c.Close(code)
	}
}

// Refusal is what the peer is to be told of an error that ends a stream or a
// session with it: ERROR_NONE if it was the peer that has ended it.
func Refusal(err error) wire.Error {
	var coded *wire.CodeError
	var abort *transport.AbortError
	var ended *transport.SessionError
	switch {
	case errors.As(err, &coded):
		return coded.Code
	case errors.As(err, &ended), errors.As(err, &abort) && abort.Remote:
		return wire.Error_ERROR_NONE
	case abort != nil:
		return wire.Error(abort.Code)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return wire.Error_ERROR_TIMEOUT
	case errors.Is(err, context.Canceled):
		return wire.Error_ERROR_GOING_AWAY
	}
	return wire.Error_ERROR_BAD_REQUEST
}

func (c *Conn) local(rawID []byte) (Local, error) {
	id, err := torrentfmt.IDFromBytes(rawID)
	if err != nil {
		return nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "%v", err)
	}
	local, ok := c.host.Local(id)
	if !ok {
		return nil, wire.Errorf(wire.Error_ERROR_NOT_FOUND, "no torrent %s here", id)
	}
	return local, nil
}

func (c *Conn) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = time.Now()
}
