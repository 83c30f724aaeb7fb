package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// session is one connection. Two things work on it: the read loop, a
// goroutine that never writes, and whoever owns the write side at the moment.
//
// mu guards the fields below it and the sending halves of all streams. It may
// be held while a stream's own mutex is taken, never the other way round, and
// never while anybody waits.
type session struct {
	conn    *net.TCPConn
	raw     syscall.RawConn
	tls     *secured    // over conn; nil: in the clear
	in      io.Reader   // conn, or tls
	peer    identity.ID // zero in the clear
	dialler bool
	done    chan struct{}
	tasks   sync.WaitGroup // the read loop, and a flusher at times
	slots   chan struct{}  // one element for each stream that this end has open

	ended atomic.Pointer[transport.SessionError] // set under mu, once

	account *transport.Account // the memory of bytes that nobody has read
	crowded atomic.Bool        // it held too much of that

	mu         sync.Mutex
	streams    map[uint64]*stream
	nextOwn    uint64 // the ID of the next stream that this end opens
	nextPeer   uint64 // the lowest ID that the peer may open
	peerOpen   int    // how many of its streams are in the map
	incoming   []*stream
	acceptable chan struct{} // one element: look at incoming

	control []byte          // frames that wait for the write side
	writing bool            // somebody owns the write side
	waiting []chan struct{} // who wants it next, in order
	stall   time.Duration   // how long a frame may take to leave
	stallAt time.Time       // the write deadline that is set

	tx transmit // belongs to the owner of the write side
	rx receive  // belongs to the read loop
}

// newSession makes a session out of a connection, in the clear if sec is nil.
// The prefaces have been exchanged, but for the acceptor's at a dialler in the
// clear.
func newSession(c *net.TCPConn, sec *secured, dialler bool, unread *transport.Budget) (*session, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Not inherited from a listening socket.
	if err := raw.Control(func(fd uintptr) { setUserTimeout(fd, userTimeout) }); err != nil {
		return nil, err
	}
	s := &session{
		conn:       c,
		raw:        raw,
		tls:        sec,
		in:         c,
		dialler:    dialler,
		stall:      writeStall,
		done:       make(chan struct{}),
		slots:      make(chan struct{}, transport.MaxStreams),
		streams:    make(map[uint64]*stream),
		acceptable: make(chan struct{}, 1),
	}
	if sec != nil {
		s.in, s.peer = sec.Conn, identity.Peer(sec.ConnectionState())
	}
	s.nextOwn, s.nextPeer = 2, 1
	if dialler {
		s.nextOwn, s.nextPeer = 1, 2
	}
	s.account = unread.Open(func() {
		s.crowded.Store(true)
		_ = c.Close() // the read loop finds it and says why
	})
	s.tx.init(s)
	s.rx.end.init()
	s.tasks.Add(1)
	go s.readLoop()
	return s, nil
}

func (s *session) Scheme() string {
	if s.tls != nil {
		return SchemeTLS
	}
	return Scheme
}

func (s *session) Peer() identity.ID     { return s.peer }
func (s *session) LocalAddr() net.Addr   { return s.conn.LocalAddr() }
func (s *session) RemoteAddr() net.Addr  { return s.conn.RemoteAddr() }
func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	if e := s.ended.Load(); e != nil {
		return e
	}
	return nil
}

func (s *session) Open(ctx context.Context) (transport.Stream, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	select {
	case s.slots <- struct{}{}:
		return newStream(s, true), nil
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return newStream(s, true), nil
	case <-s.done:
		return nil, s.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *session) Accept(ctx context.Context) (transport.Stream, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		if len(s.incoming) > 0 && s.ended.Load() == nil {
			st := s.incoming[0]
			s.incoming = slices.Delete(s.incoming, 0, 1)
			if len(s.incoming) > 0 {
				nudge(s.acceptable)
			}
			st.queued = false
			s.mu.Unlock()
			return st, nil
		}
		s.mu.Unlock()
		select {
		case <-s.acceptable:
		case <-s.done:
			return nil, s.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *session) usable(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	return ctx.Err()
}

// nudge leaves one element in c: whoever waits there looks again.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// forget takes a stream that is over on the wire out of the session. Called
// with mu held.
func (s *session) forget(st *stream) {
	if st.forgotten {
		return
	}
	st.forgotten = true
	if st.own {
		<-s.slots
	} else {
		s.peerOpen--
	}
	if st.id != 0 {
		delete(s.streams, st.id)
	}
	if st.queued {
		st.queued = false
		s.incoming = slices.DeleteFunc(s.incoming, func(q *stream) bool { return q == st })
	}
}

// end records why the session is over and tells everybody. It reports whether
// it was the first. Called with mu held.
func (s *session) end(why *transport.SessionError) bool {
	if !s.ended.CompareAndSwap(nil, why) {
		return false
	}
	close(s.done)
	s.account.Close()
	clear(s.incoming)
	s.incoming = nil
	s.control = nil
	return true
}

// fail ends the session because of err and drops the connection.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *session) failLocked(err error) {
	switch {
	case s.crowded.Load():
		err = ErrUnread
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // without a close frame
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrStalled // no deadline of the caller's: it must not look like one
	}
	if s.end(&transport.SessionError{Err: err}) {
		_ = s.conn.Close() // frees whoever is in a system call
	}
}

func (s *session) Close() error { return s.Abort(0) }

func (s *session) Abort(code transport.Code) error {
	s.mu.Lock()
	if s.end(&transport.SessionError{Code: code}) {
		s.bye(code)
	}
	s.mu.Unlock()
	s.tasks.Wait()
	if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// bye brings a close frame to the peer, within closeWait. The read loop goes
// on meanwhile and drops what it gets: a socket that is closed with unread
// bytes resets the connection, and the peer would lose the frame. Called with
// mu held, which it releases while it waits.
func (s *session) bye(code transport.Code) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(closeWait)) // fails only when the connection is gone
	s.stallAt = time.Time{}
	s.kick()
	if s.writing {
		turn := make(chan struct{}, 1)
		s.waiting = append(s.waiting, turn)
		s.mu.Unlock()
		<-turn // the owner's write has the same deadline
		s.mu.Lock()
	}
	s.writing = true
	s.mu.Unlock()
	if !s.tx.broken {
		s.tx.out = header{typ: frameClose, value: uint32(code)}.append(s.tx.out)
		_ = s.tx.write(nil)     // a peer that takes nothing is not told
		_ = s.conn.CloseWrite() // the same
	}
	s.mu.Lock()
	s.release()
}

// kick makes the read loop look around, whatever it waits for.
func (s *session) kick() {
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // fails only when the connection is gone
}
