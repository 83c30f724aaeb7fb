package tcp

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

func (o Options) dialPlain(ctx context.Context, addr string) (transport.Session, error) {
	return o.dial(ctx, Scheme, addr, func(_ context.Context, c *net.TCPConn) (*secured, error) {
		return nil, sendPreface(c)
	})
}

func (o Options) dialTLS(ctx context.Context, addr string) (transport.Session, error) {
	return o.dial(ctx, SchemeTLS, addr, o.secure)
}

// dial connects, has greet exchange what comes before the first frame, and
// makes a session.
func (o Options) dial(ctx context.Context, scheme, addr string, greet greeting) (transport.Session, error) {
	s, err := o.connect(ctx, addr, greet)
	if err != nil {
		return nil, &transport.DialError{Scheme: scheme, Addr: addr, Err: err}
	}
	return s, nil
}

type greeting func(context.Context, *net.TCPConn) (*secured, error)

func (o Options) connect(ctx context.Context, addr string, greet greeting) (*session, error) {
	d := net.Dialer{KeepAliveConfig: keepAlives, Control: o.control}
	if o.LocalIP.IsValid() && !o.LocalIP.IsUnspecified() {
		d.LocalAddr = &net.TCPAddr{IP: o.LocalIP.AsSlice(), Zone: o.LocalIP.Zone()}
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn) // DialContext gives no other for "tcp"
	sec, err := greet(ctx, c)
	if err != nil {
		_ = c.Close() // the first error counts
		return nil, err
	}
	s, err := newSession(c, sec, true, o.budget())
	if err != nil {
		_ = c.Close() // the first error counts
		return nil, err
	}
	return s, nil
}

// sendPreface never waits: the buffer of a new socket is empty.
func sendPreface(c *net.TCPConn) error {
	if err := c.SetWriteDeadline(time.Now().Add(handshakeWait)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(preface)); err != nil {
		return fmt.Errorf("send the preface: %w", err)
	}
	return nil
}
