package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestPrivateSwarmIsForItsMembers(t *testing.T) {
	transporttest.RunPrivate(t, transporttest.Private{
		ALPN:   alpn,
		OldTLS: true,
		Row: func(c *identity.Credentials, refused func(transport.Refusal)) transport.Transport {
			return NewTLS(Options{Credentials: c, Refused: refused})
		},
		Knock: knock,
		Trap:  trap,
	})
}

func knock(ctx context.Context, addr string, config *tls.Config) (told int, err error) {
	c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write([]byte(preface)); err != nil {
		return 0, err
	}
	return hear(c)
}

// hear counts what comes until the end.
func hear(c net.Conn) (int, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, c)
	if err == nil {
		err = io.EOF
	}
	return int(n), err
}

func trap(t testing.TB, config *tls.Config) (addr string, stop func() int) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan int, 1)
	go func() {
		total := 0
		for {
			c, err := l.Accept()
			if err != nil {
				told <- total
				return
			}
			n, _ := hear(c)
			total += n
			c.Close()
		}
	}()
	return l.Addr().String(), func() int { l.Close(); return <-told }
}

// member makes the row of a member of s and a listener of another.
func privateListener(t testing.TB) (transporttest.Swarm, transport.Listener) {
	t.Helper()
	s := transporttest.NewSwarm(t)
	l, err := NewTLS(Options{Credentials: s.Member(t)}).Listen(testContext(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return s, l
}

// lets proves that the next one whom l accepts is a member.
func lets(t testing.TB, s transporttest.Swarm, l transport.Listener) {
	t.Helper()
	c := s.Member(t)
	d, err := NewTLS(Options{Credentials: c}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		t.Fatalf("a member was turned away: %v", err)
	}
	defer d.Close()
	a, err := l.Accept(testContext(t))
	if err != nil || a.Peer() != c.ID() {
		t.Fatalf("accepted %v, %v", a, err)
	}
	_ = a.Close()
}

func TestSessionInTheClearIsToldThatItNeedsAKey(t *testing.T) {
	s, l := privateListener(t)
	d, err := New(Options{}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	wantEnd(t, d.(*session), transport.ErrClear)
	lets(t, s, l)

	p := rawDial(t, l)
	p.send([]byte(preface))
	p.send(make([]byte, 10_000)) // it does not wait for an answer
	all, err := io.ReadAll(p)
	if err != nil || string(all) != needsKey {
		t.Errorf("told %q, %v", all, err)
	}
	lets(t, s, l)
}

func TestOnePortServesTheClearAndTLS(t *testing.T) {
	o := Options{Credentials: identity.Ephemeral()}
	l, err := New(o).Listen(testContext(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, row := range []transport.Transport{New(Options{}), NewTLS(Options{}), New(o), NewTLS(o)} {
		d, err := row.Dial(testContext(t), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.Accept(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if a.Scheme() != row.Scheme || a.Peer().IsZero() != (row.Scheme == Scheme) {
			t.Errorf("dialled over %s, accepted over %s from %v", row.Scheme, a.Scheme(), a.Peer())
		}
		_, _ = d.Close(), a.Close()
	}
}

// tape is a relay that keeps what a dialler says.
type tape struct {
	net.Listener
	mu   sync.Mutex
	said []byte
}

func record(t testing.TB, to net.Addr) *tape {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &tape{Listener: l}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to.String())
		if err != nil {
			c.Close()
			return
		}
		tasks.Go(func() { _, _ = io.Copy(c, out); c.Close() })
		_, _ = io.Copy(out, io.TeeReader(c, r))
		_ = out.(*net.TCPConn).CloseWrite()
	})
	t.Cleanup(func() { l.Close(); tasks.Wait() })
	return r
}

func (r *tape) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, p...)
	return len(p), nil
}

func TestReplayedHandshakeIsWorthless(t *testing.T) {
	s, l := privateListener(t)
	relay := record(t, l.Addr())
	d, err := NewTLS(Options{Credentials: s.Member(t)}).Dial(testContext(t), relay.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	st := open(t, d.(*session))
	if _, err := st.Write([]byte("a secret")); err != nil {
		t.Fatal(err)
	}
	if _, err := accept(t, a.(*session)).ReadFull(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	_, _ = d.Close(), a.Close()
	relay.mu.Lock()
	said := relay.said
	relay.mu.Unlock()

	p := rawDial(t, l)
	p.send(said)
	told, err := io.ReadAll(p)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("the end: %v", err)
	}
	// Keys are drawn anew, so it gets a server's hello that it cannot read, and
	// an alert.
	if len(told) == 0 || told[0] != tlsHandshake {
		t.Errorf("told %q", told)
	}
	lets(t, s, l)
}

// The oldest of those that do not get on with their handshake make room for
// the next.
func TestHalfOpenHandshakesLockNobodyOut(t *testing.T) {
	s, l := privateListener(t)
	hello := helloOf(s.Member(t))

	for i := range 3 * maxHandshakes {
		p := rawDial(t, l)
		switch i % 3 {
		case 0:
			p.send(hello) // and never the answer to the acceptor's
		case 1:
			p.send(hello[:len(hello)/2])
		}
	}
	for range 3 {
		lets(t, s, l)
	}
	far := l.(*listener)
	far.mu.Lock()
	defer far.mu.Unlock()
	if far.halfOpen.Len() > maxHandshakes {
		t.Errorf("%d half-open connections; want at most %d", far.halfOpen.Len(), maxHandshakes)
	}
}

// Who stops in the middle of a handshake is let go, though nobody else needs the
// place.
func TestHalfOpenConnectionIsLetGo(t *testing.T) {
	s := transporttest.NewSwarm(t)
	hello := helloOf(s.Member(t))
	o := Options{Credentials: s.Member(t), halfOpen: 50 * time.Millisecond}
	for name, listen := range map[string]func(context.Context, string) (transport.Listener, error){
		"tls": o.listenTLS, "both": o.listenBoth,
	} {
		l, err := listen(testContext(t), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for what, said := range map[string]string{
			"nothing": "", "half a preface": preface[:4], "half a hello": string(hello[:len(hello)/2]), "a hello": string(hello),
		} {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, said); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: who says %s is held", name, what)
			}
		}
	}
}

// A slow dialler is not pushed out by what comes from elsewhere.
func TestFloodFromOnePlaceShutsOutNobodyElse(t *testing.T) {
	s, l := privateListener(t)
	far := netip.MustParseAddr("127.0.0.2")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: far.AsSlice()}}
	conn, err := d.DialContext(testContext(t), "tcp", l.Addr().String())
	if err != nil {
		t.Skipf("this machine has no second loopback address: %v", err)
	}
	slow := conn.(*net.TCPConn)
	defer slow.Close()
	for range 3 * maxHandshakes {
		rawDial(t, l)
	}
	lets(t, s, l) // by now the listener has taken all of them
	member := s.Member(t)
	sec, err := Options{Credentials: member}.secure(testContext(t), slow)
	if err != nil {
		t.Fatalf("the slow one was turned away: %v", err)
	}
	a, err := l.Accept(testContext(t))
	if err != nil || a.Peer() != member.ID() {
		t.Fatalf("accepted %v, %v", a, err)
	}
	_, _ = sec.Close(), a.Close()
}

func TestDialOfASilentAcceptorEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(testContext(t))
	dialling := later(func() error { _, err := NewTLS(Options{}).Dial(ctx, l.Addr().String()); return err })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil { // the handshake has begun
		t.Fatal(err)
	}
	cancel()
	err = wait(t, "Dial", dialling)
	if _, ok := errors.AsType[*transport.DialError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// sized is the real number when MTOR_LONG is set, as .ci/long does, and
// otherwise one that takes no time.
func sized(small, large int) int {
	if os.Getenv("MTOR_LONG") != "" {
		return large
	}
	return small
}

func TestIdleConnectionsAreToldNothingAndKeepNobodyOut(t *testing.T) {
	s, l := privateListener(t)
	idle := make([]*net.TCPConn, sized(1000, 10_000))
	for i := range idle {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle[i] = c.(*net.TCPConn)
		if i%100 == 99 {
			lets(t, s, l)
		}
	}
	far := l.(*listener)
	far.mu.Lock()
	open := far.halfOpen.Len()
	far.mu.Unlock()
	if open > maxHandshakes {
		t.Errorf("%d of them are held; want at most %d", open, maxHandshakes)
	}
	// All but the youngest have been let go, and have heard nothing.
	for i, c := range idle[:len(idle)-maxHandshakes] {
		if told, err := hear(c); told != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d was told %d bytes, and then %v", i, told, err)
		}
	}
	lets(t, s, l)
}

// A member that is brought to an acceptor in the clear, by somebody who sits in
// between or has taken the address, does not go on in the clear.
func TestMemberIsNotTalkedOutOfTLS(t *testing.T) {
	s := transporttest.NewSwarm(t)
	for name, answer := range map[string]string{
		"the preface in the clear": preface, "an alert": needsKey, "nothing": "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan []byte, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				heard <- nil
				return
			}
			defer c.Close()
			first := make([]byte, 64<<10)
			n, _ := c.Read(first)
			_, _ = c.Write([]byte(answer))
			_ = c.(*net.TCPConn).CloseWrite()
			rest, _ := io.ReadAll(io.LimitReader(c, 64<<10))
			heard <- append(first[:n], rest...)
		}()
		d, err := NewTLS(Options{Credentials: s.Member(t)}).Dial(testContext(t), l.Addr().String())
		if err == nil {
			_ = d.Close()
			t.Errorf("%s: the member went on", name)
		}
		said := wait(t, "what the member said", heard)
		// A record of the handshake, which is its hello, and an alert at most.
		if len(said) < 5 || said[0] != tlsHandshake {
			t.Fatalf("%s: it said %q", name, said)
		}
		rest := said[5+(int(said[3])<<8|int(said[4])):]
		if len(rest) > 0 && (rest[0] != tlsAlert || len(rest) > 7) {
			t.Errorf("%s: behind its hello it said %x", name, rest)
		}
		if bytes.Contains(said, []byte(preface)) {
			t.Errorf("%s: it said the preface", name)
		}
		l.Close()
	}
}

// FuzzStranger sends anything to a member's listener. Nobody gets in, and what
// is told are records of TLS before its keys are used, or an alert.
func FuzzStranger(f *testing.F) {
	s, l := privateListener(f)
	f.Add([]byte(preface))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
	f.Add([]byte("\x16\x03\x01\x40\x01"))
	f.Add([]byte("\x80\x2e\x01\x03\x01"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{tlsHandshake})
	f.Add(helloOf(s.Member(f)))
	f.Fuzz(func(t *testing.T, said []byte) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(said); err == nil {
			_ = c.(*net.TCPConn).CloseWrite()
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		told, _ := io.ReadAll(c)
		if len(told) > 0 && told[0] != tlsHandshake && told[0] != tlsAlert || bytes.Contains(told, []byte(preface)) {
			t.Fatalf("told %q", told)
		}
		far := l.(*listener)
		if len(far.ready) > 0 {
			t.Fatal("it got in")
		}
	})
}

// helloOf is the first thing that a node says over TLS.
func helloOf(c *identity.Credentials) []byte {
	near, far := net.Pipe()
	go func() {
		_ = tls.Client(near, c.Client(alpn)).Handshake() // ends with the pipe
		near.Close()
	}()
	b := make([]byte, 16<<10)
	n, _ := far.Read(b)
	far.Close()
	return b[:n]
}
