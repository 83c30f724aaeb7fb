package tcp

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

func (o Options) listenBoth(ctx context.Context, addr string) (transport.Listener, error) {
	return o.listen(ctx, addr, true)
}

func (o Options) listenTLS(ctx context.Context, addr string) (transport.Listener, error) {
	return o.listen(ctx, addr, false)
}

func (o Options) listen(ctx context.Context, addr string, plain bool) (transport.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlives, Control: o.control}
	nl, err := lc.Listen(ctx, listenNetwork(addr), addr)
	if err != nil {
		return nil, err // it names the address
	}
	l := &listener{
		tcp:     nl.(*net.TCPListener), // Listen gives no other for "tcp"
		plain:   plain,
		creds:   o.Credentials,
		wait:    cmp.Or(o.halfOpen, handshakeWait),
		refused: o.Refused,
		ready:   make(chan arrival, acceptBacklog),
		closed:  make(chan struct{}),
		unread:  o.budget(),
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
	tcp     *net.TCPListener
	plain   bool                  // sessions in the clear are served
	creds   *identity.Credentials // nil: those over TLS are not
	wait    time.Duration         // for a handshake
	refused func(transport.Refusal)
	ready   chan arrival
	closed  chan struct{}
	unread  *transport.Budget
	once    sync.Once
	tasks   sync.WaitGroup

	mu       sync.Mutex
	halfOpen list.List // of *net.TCPConn, the oldest first
	ended    bool
}

// arrival is a connection whose preface has come.
type arrival struct {
	*net.TCPConn
	sec  *secured // nil: in the clear
	half *list.Element
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
			if !l.take(c) {
				return nil, errListenerClosed
			}
			s, err := newSession(c.TCPConn, c.sec, false, l.unread)
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

// take makes an arrival the caller's, unless Close has it: the handshake's
// goroutine may not have come to say yet that it is through.
func (l *listener) take(c arrival) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = c.Close() // Close may have done so before
		return false
	}
	l.halfOpen.Remove(c.half) // does nothing when that goroutine was first
	return true
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
		e := l.leastTrusted()
		_ = e.Value.(*net.TCPConn).Close() // ends its handshake
		l.halfOpen.Remove(e)
	}
	e := l.halfOpen.PushBack(c)
	l.tasks.Add(1)
	go func() {
		defer l.tasks.Done()
		scheme, err := l.handshake(c, e)
		l.mu.Lock()
		held := l.halfOpen.Len()
		l.halfOpen.Remove(e) // does nothing when begin or take was first
		outdone := l.halfOpen.Len() == held
		l.mu.Unlock()
		if outdone && errors.Is(err, net.ErrClosed) {
			err = fmt.Errorf("%w: it was the oldest of those from its network", transport.ErrBusy)
		}
		if err != nil {
			_ = c.Close() // a stranger, who is told already
			transport.Refusal{Scheme: scheme, From: c.RemoteAddr(), Err: err}.Tell(l.refused)
		}
	}()
}

// leastTrusted is the oldest half-open connection of the source that has most of
// them: a flood from one place shuts out nobody else. Called with mu held.
func (l *listener) leastTrusted() *list.Element {
	held := make(map[netip.Prefix]int)
	most := 0
	for e := l.halfOpen.Front(); e != nil; e = e.Next() {
		from := sourceOf(e)
		held[from]++
		most = max(most, held[from])
	}
	e := l.halfOpen.Front()
	for held[sourceOf(e)] < most {
		e = e.Next()
	}
	return e
}

// sourceOf is an IPv4 address, or the network of an IPv6 address that one
// subscriber has (RFC 6177).
func sourceOf(e *list.Element) netip.Prefix {
	addr, ok := e.Value.(*net.TCPConn).RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip, bits := addr.AddrPort().Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // of no address it is zero
	return p
}

// errClear is why one is refused who does not speak TLS where nothing else is
// spoken.
var errClear = fmt.Errorf("%w: it speaks in the clear, as nodes without a swarm key do", identity.ErrNoProof)

// handshake checks that a peer is at the other end, and queues it for Accept.
// scheme is what that one speaks, or should have.
func (l *listener) handshake(c *net.TCPConn, half *list.Element) (scheme string, err error) {
	scheme = Scheme
	if !l.plain {
		scheme = SchemeTLS
	}
	limit := time.Now().Add(l.wait)
	if err := c.SetDeadline(limit); err != nil {
		return scheme, err
	}
	var first [len(preface)]byte
	n, err := c.Read(first[:])
	if err != nil {
		return scheme, err
	}
	var sec *secured
	scheme = Scheme
	switch {
	case first[0] == tlsHandshake && l.creds != nil:
		scheme = SchemeTLS
		sec, err = l.greetTLS(c, first[:n])
	case l.plain:
		err = awaitPreface(c, first[:n])
		if err == nil {
			_, err = c.Write([]byte(preface))
		}
	default:
		_, _ = c.Write([]byte(needsKey)) // it may be gone
		err = ErrNotMux
		if strings.HasPrefix(preface, string(first[:n])) {
			err = errClear
		}
	}
	if err != nil {
		linger(c)
		return scheme, err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return scheme, err
	}
	timer := time.NewTimer(time.Until(limit))
	defer timer.Stop()
	select {
	case l.ready <- arrival{c, sec, half}:
		return scheme, nil
	case <-l.closed:
		return scheme, errListenerClosed
	case <-timer.C:
		return scheme, fmt.Errorf("%w: nobody takes what has come", transport.ErrBusy)
	}
}

// greetTLS lets in who proves itself. The connection's deadline bounds it.
func (l *listener) greetTLS(c *net.TCPConn, first []byte) (*secured, error) {
	sec, err := server(context.Background(), c, first, l.creds)
	if err != nil {
		return nil, err
	}
	if err := awaitPreface(sec, nil); err != nil {
		return nil, err
	}
	_, err = sec.Write([]byte(preface))
	return sec, err
}

// awaitPreface reads the rest of a preface that began with first. A stranger is
// found at its first wrong byte.
func awaitPreface(r io.Reader, first []byte) error {
	var got [len(preface)]byte
	n := copy(got[:], first)
	for {
		if string(got[:n]) != preface[:n] {
			return ErrNotMux
		}
		if n == len(got) {
			return nil
		}
		k, err := r.Read(got[n:])
		if n += k; k == 0 && err != nil {
			return err
		}
	}
}

// linger lets a stranger hear why it is refused: closing a connection with
// bytes unread would take the last words back (RFC 1122, section 4.2.2.13).
func linger(c *net.TCPConn) {
	if c.SetDeadline(time.Now().Add(closeWait)) == nil && c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, lingerBytes) // it is gone, or has had its time
	}
}
