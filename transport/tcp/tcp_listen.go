package tcp

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

func (o Options) listen(ctx context.Context, addr string) (transport.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlives, Control: o.control}
	nl, err := lc.Listen(ctx, listenNetwork(addr), addr)
	if err != nil {
		return nil, err // it names the address
	}
	l := &listener{
		tcp:    nl.(*net.TCPListener), // Listen gives no other for "tcp"
		ready:  make(chan *net.TCPConn, acceptBacklog),
		closed: make(chan struct{}),
		unread: o.budget(),
	}
	l.tasks.Add(1)
	go l.run()
	return l, nil
}

// listenNetwork keeps "0.0.0.0" to IPv4, where package net would bind both
// families; "::" binds both where the system can.
func listenNetwork(addr string) string {
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

type listener struct {
	tcp    *net.TCPListener
	ready  chan *net.TCPConn // their preface has come
	closed chan struct{}
	unread *transport.Budget
	once   sync.Once
	tasks  sync.WaitGroup

	mu       sync.Mutex
	halfOpen list.List // of *net.TCPConn, the oldest first
	ended    bool
}

func (l *listener) Addr() net.Addr { return l.tcp.Addr() }

func (l *listener) Accept(ctx context.Context) (transport.Session, error) {
	for {
		select {
		case <-l.closed:
			return nil, errListenerClosed
		default:
		}
		select {
		case c := <-l.ready:
			s, err := newSession(c, false, l.unread)
			if err != nil { // the connection is gone already
				_ = c.Close() // nothing is lost with it
				continue
			}
			return s, nil
		case <-l.closed:
			return nil, errListenerClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

var errListenerClosed = fmt.Errorf("tcp listener: %w", net.ErrClosed)

func (l *listener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		err = l.tcp.Close()
		l.mu.Lock()
		l.ended = true
		for e := l.halfOpen.Front(); e != nil; e = e.Next() {
			_ = e.Value.(*net.TCPConn).Close() // ends its handshake
		}
		l.mu.Unlock()
	})
	l.tasks.Wait()
	for {
		select {
		case c := <-l.ready:
			_ = c.Close() // nobody will take it
		default:
			return err
		}
	}
}

// run takes connections off the kernel until Close.
func (l *listener) run() {
	defer l.tasks.Done()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		c, err := l.tcp.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, or a connection that went away:
			// neither is a reason to stop listening, nor to spin.
			pause.Reset(10 * time.Millisecond)
			select {
			case <-pause.C:
			case <-l.closed:
				return
			}
			continue
		}
		l.begin(c)
	}
}

func (l *listener) begin(c *net.TCPConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = c.Close() // nobody will take it
		return
	}
	if l.halfOpen.Len() >= maxHandshakes {
		oldest := l.halfOpen.Front()
		_ = oldest.Value.(*net.TCPConn).Close() // ends its handshake
		l.halfOpen.Remove(oldest)
	}
	e := l.halfOpen.PushBack(c)
	l.tasks.Add(1)
	go func() {
		defer l.tasks.Done()
		err := l.handshake(c)
		l.mu.Lock()
		l.halfOpen.Remove(e) // does nothing when begin or Close was first
		l.mu.Unlock()
		if err != nil {
			_ = c.Close() // a stranger, and no caller to be told
		}
	}()
}

// handshake checks that a peer is at the other end, and queues it for Accept.
func (l *listener) handshake(c *net.TCPConn) error {
	limit := time.Now().Add(handshakeWait)
	if err := c.SetReadDeadline(limit); err != nil {
		return err
	}
	var got [len(preface)]byte
	for n := 0; n < len(got); {
		k, err := c.Read(got[n:])
		n += k
		if string(got[:n]) != preface[:n] {
			return ErrNotMux
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := sendPreface(c); err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(limit))
	defer timer.Stop()
	select {
	case l.ready <- c:
		return nil
	case <-l.closed:
		return errListenerClosed
	case <-timer.C:
		return errors.New("nobody accepts")
	}
}
