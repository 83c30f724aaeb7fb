package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/mtor-dev/mtor/transport"
)

// A handshake is served at once as long as they come in no faster than this.
// Beyond it, a source must first show that it receives at its address (Retry,
// RFC 9000, section 8.1.2), which costs it one round trip and a flood with
// forged sources everything. So forged packets hold handshakeBurst +
// handshakeRate x 5 s connections at most.
const (
	handshakeRate  = 50 // a second
	handshakeBurst = 200
)

// listener accepts sessions on one UDP socket.
type listener struct {
	quic   *quicgo.Listener
	socket *socket
	knocks *knocks

	mu     sync.Mutex
	closed bool
	done   chan struct{} // closed when Close has freed everything
}

// listen implements transport.Transport.
func (c *carrier) listen(ctx context.Context, hostPort string) (transport.Listener, error) {
	l, err := c.listenVerifying(ctx, hostPort, newDoubt())
	if err != nil {
		return nil, err // not l: a nil *listener in an interface is no nil
	}
	return l, nil
}

// newDoubt returns the policy that handshakeRate and handshakeBurst describe:
// whether a source has to prove its address first.
func newDoubt() func(net.Addr) bool {
	limit := rate.NewLimiter(handshakeRate, handshakeBurst)
	return func(net.Addr) bool { return !limit.Allow() }
}

func (c *carrier) listenVerifying(ctx context.Context, hostPort string, verify func(net.Addr) bool) (*listener, error) {
	socket, err := c.bind(ctx, listenNetwork(hostPort), hostPort, verify)
	if err != nil {
		return nil, err
	}
	k := &knocks{refused: c.refused}
	socket.quic.ConnContext = k.begin
	ql, err := socket.quic.Listen(c.server, c.config)
	if err != nil {
		_ = socket.release() // the listening error is the one to tell
		return nil, fmt.Errorf("listen on %s: %w", hostPort, err)
	}
	return &listener{quic: ql, socket: socket, knocks: k, done: make(chan struct{})}, nil
}

// listenNetwork keeps "0.0.0.0" to IPv4, where package net would bind both
// families; "::" binds both where the system can.
func listenNetwork(hostPort string) string {
	if ap, err := netip.ParseAddrPort(hostPort); err == nil && ap.Addr().Is4() {
		return "udp4"
	}
	return "udp"
}

// Accept implements transport.Listener. Up to 32 sessions wait to be accepted;
// QUIC refuses those that come on top.
func (l *listener) Accept(ctx context.Context) (transport.Session, error) {
	conn, err := l.quic.Accept(ctx)
	if err == nil {
		letIn(conn)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		if err == nil {
			_ = conn.CloseWithError(0, "") // established, but nobody will serve it
		}
		return nil, fmt.Errorf("accept on %s: %w", l.Addr(), net.ErrClosed)
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, net.ErrClosed):
		// The socket failed. It must not look like an orderly Close.
		return nil, fmt.Errorf("accept on %s: %v", l.Addr(), err) //nolint:errorlint // see above
	case err != nil:
		return nil, fmt.Errorf("accept on %s: %w", l.Addr(), err)
	}
	l.socket.retain()
	return newSession(conn, l.socket), nil
}

// Addr implements transport.Listener.
func (l *listener) Addr() net.Addr { return l.socket.udp.LocalAddr() }

// Close implements transport.Listener. The port stays bound for as long as
// sessions that were accepted on it live.
func (l *listener) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if !first {
		<-l.done
		return nil
	}
	defer close(l.done)
	l.knocks.end()
	err := l.quic.Close()
	for {
		conn, aerr := l.quic.Accept(context.Background()) // does not block any more
		if aerr != nil {
			break
		}
		_ = conn.CloseWithError(0, "") // established, but nobody will serve it
	}
	if rerr := l.socket.release(); err == nil {
		err = rerr
	}
	return err
}
