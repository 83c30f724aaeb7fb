package quic

import (
	"context"
	"net"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// session is one QUIC connection.
type session struct {
	conn *quicgo.Conn
	// accepting admits one caller at a time to conn.AcceptStream, which may
	// leave one of two waiting callers asleep when two streams arrive at once.
	accepting chan struct{}
	freed     chan struct{} // closed when the socket has been released
}

// newSession takes over conn and one use of the socket that carries it.
func newSession(conn *quicgo.Conn, socket *socket) *session {
	s := &session{
		conn:      conn,
		accepting: make(chan struct{}, 1),
		freed:     make(chan struct{}),
	}
	context.AfterFunc(conn.Context(), func() {
		defer close(s.freed)
		_ = socket.release() // the session has ended, for a reason that Err tells
	})
	return s
}

// Open implements transport.Session.
func (s *session) Open(ctx context.Context) (transport.Stream, error) {
	qs, err := s.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	return newStream(qs, s), nil
}

// Accept implements transport.Session.
func (s *session) Accept(ctx context.Context) (transport.Stream, error) {
	select {
	case s.accepting <- struct{}{}:
		defer func() { <-s.accepting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.Done():
		return nil, s.Err()
	}
	qs, err := s.conn.AcceptStream(ctx)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	return newStream(qs, s), nil
}

// failure tells the caller's context from the connection's end.
func (s *session) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil && err == ctx.Err() { //nolint:errorlint // exactly the context's own error
		return err
	}
	return sessionError(err)
}

// Scheme implements transport.Session.
func (s *session) Scheme() string { return Scheme }

// Peer implements transport.Session.
func (s *session) Peer() identity.ID { return identity.Peer(s.conn.ConnectionState().TLS) }

// LocalAddr implements transport.Session.
func (s *session) LocalAddr() net.Addr { return unmapped(s.conn.LocalAddr()) }

// RemoteAddr implements transport.Session.
func (s *session) RemoteAddr() net.Addr { return unmapped(s.conn.RemoteAddr()) }

// Close implements transport.Session.
func (s *session) Close() error { return s.Abort(0) }

// Abort implements transport.Session.
func (s *session) Abort(code transport.Code) error {
	err := s.conn.CloseWithError(quicgo.ApplicationErrorCode(code), "")
	<-s.freed
	return err
}

// Done implements transport.Session.
func (s *session) Done() <-chan struct{} { return s.conn.Context().Done() }

// Err implements transport.Session.
func (s *session) Err() error {
	if s.conn.Context().Err() == nil {
		return nil
	}
	return sessionError(context.Cause(s.conn.Context()))
}
