package transporttest

import (
	"context"
	"net"
	"sync"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// memoryLink is what the two ends of a session share. Its mutex guards
// everything of both ends and of their streams; it is never held while
// somebody waits.
type memoryLink struct {
	mu      sync.Mutex
	streams map[*memoryStream]struct{} // both ends of every open stream
}

// memorySession is one end of a session.
type memorySession struct {
	link          *memoryLink
	peer          *memorySession
	node          identity.ID // of this end
	local, remote net.Addr
	slots         chan struct{}      // one element for each stream that this end opened
	incoming      chan *memoryStream // streams that the peer opened; never more than its slots
	done          chan struct{}
	err           error // set once, before done is closed
}

func newMemoryPair(from, to net.Addr) (near, far *memorySession) {
	link := &memoryLink{streams: make(map[*memoryStream]struct{})}
	end := func(local, remote net.Addr) *memorySession {
		return &memorySession{
			link: link, local: local, remote: remote,
			slots:    make(chan struct{}, transport.MaxStreams),
			incoming: make(chan *memoryStream, transport.MaxStreams),
			done:     make(chan struct{}),
		}
	}
	near, far = end(from, to), end(to, from)
	near.peer, far.peer = far, near
	return near, far
}

func (s *memorySession) Open(ctx context.Context) (transport.Stream, error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return nil, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	there, back := newHalf(), newHalf()
	near := &memoryStream{session: s, out: there, in: back, opener: true}
	far := &memoryStream{session: s.peer, out: back, in: there}
	near.peer, far.peer = far, near
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.link.streams[near] = struct{}{}
	s.link.streams[far] = struct{}{}
	return near, nil
}

func (s *memorySession) Accept(ctx context.Context) (transport.Stream, error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	select {
	case st := <-s.incoming:
		s.link.mu.Lock()
		defer s.link.mu.Unlock()
		st.accepted = true
		st.releaseLocked()
		return st, nil
	case <-s.done:
		return nil, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *memorySession) ended(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	default:
		return ctx.Err()
	}
}

func (s *memorySession) Scheme() string        { return MemoryScheme }
func (s *memorySession) Peer() identity.ID     { return s.peer.node }
func (s *memorySession) LocalAddr() net.Addr   { return s.local }
func (s *memorySession) RemoteAddr() net.Addr  { return s.remote }
func (s *memorySession) Done() <-chan struct{} { return s.done }
func (s *memorySession) Close() error          { return s.Abort(0) }

func (s *memorySession) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

func (s *memorySession) Abort(code transport.Code) error {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if s.err != nil {
		return nil
	}
	s.err = &transport.SessionError{Code: code}
	s.peer.err = &transport.SessionError{Code: code, Remote: true}
	for st := range s.link.streams {
		st.stopTimer()
		st.in.poke()
		st.out.poke()
	}
	clear(s.link.streams)
	close(s.done)
	close(s.peer.done)
	return nil
}
