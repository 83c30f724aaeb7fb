package quic

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestPrivateSwarmIsForItsMembers(t *testing.T) {
	transporttest.RunPrivate(t, transporttest.Private{ALPN: alpn, Row: row(t), Knock: knock, Trap: trap})
}

func row(t testing.TB) func(*identity.Credentials, func(transport.Refusal)) transport.Transport {
	return func(c *identity.Credentials, refused func(transport.Refusal)) transport.Transport {
		tr, err := New(Options{Credentials: c, Refused: refused})
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
}

func knock(ctx context.Context, addr string, config *tls.Config) (told int, err error) {
	conn, err := quicgo.DialAddr(ctx, addr, config, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	return converse(ctx, conn)
}

// converse says something and counts what comes until the end.
func converse(ctx context.Context, conn *quicgo.Conn) (told int, err error) {
	st, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := st.Write([]byte("?")); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, st)
	if err == nil {
		err = io.EOF
	}
	return int(n), err
}

func trap(t testing.TB, config *tls.Config) (addr string, stop func() int) {
	l, err := quicgo.ListenAddr("127.0.0.1:0", config, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan int, 1)
	go func() {
		total := 0
		for {
			conn, err := l.Accept(t.Context())
			if err != nil {
				told <- total
				return
			}
			n, _ := converse(t.Context(), conn)
			total += n
		}
	}()
	return l.Addr().String(), func() int { l.Close(); return <-told }
}

// tape is a relay that keeps the packets of a dialler.
type tape struct {
	front, back net.PacketConn
	mu          sync.Mutex
	said        [][]byte
}

func record(t testing.TB, to net.Addr) *tape {
	t.Helper()
	var r tape
	for _, c := range []*net.PacketConn{&r.front, &r.back} {
		var err error
		if *c, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	var tasks sync.WaitGroup
	dialler := make(chan net.Addr, 1)
	tasks.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := r.front.ReadFrom(buf)
			if err != nil {
				close(dialler)
				return
			}
			select {
			case dialler <- from:
			default:
			}
			r.mu.Lock()
			r.said = append(r.said, append([]byte(nil), buf[:n]...))
			r.mu.Unlock()
			_, _ = r.back.WriteTo(buf[:n], to) // a lost packet is sent anew
		}
	})
	tasks.Go(func() {
		from, ok := <-dialler
		buf := make([]byte, 64<<10)
		for ok {
			n, _, err := r.back.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = r.front.WriteTo(buf[:n], from) // as above
		}
	})
	t.Cleanup(func() { r.front.Close(); r.back.Close(); tasks.Wait() })
	return &r
}

func TestReplayedHandshakeIsWorthless(t *testing.T) {
	swarm := transporttest.NewSwarm(t)
	member := newTestCarrier(t, Options{Credentials: swarm.Member(t)})
	l := mustListen(t, newTestCarrier(t, Options{Credentials: swarm.Member(t)}), "127.0.0.1:0")
	relay := record(t, l.Addr())
	dialled := mustDial(t, member, relay.front.LocalAddr().String())
	accepted := mustAccept(t, l)
	exchange(t, dialled, accepted)
	_, _ = dialled.Close(), accepted.Close()

	relay.mu.Lock()
	said := relay.said
	relay.mu.Unlock()
	other, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, packet := range said {
		if _, err := other.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	honest := swarm.Member(t)
	dialled = mustDial(t, newTestCarrier(t, Options{Credentials: honest}), l.Addr().String())
	accepted = mustAccept(t, l)
	if accepted.Peer() != honest.ID() {
		t.Errorf("accepted %v; the member is %v", accepted.Peer(), honest.ID())
	}
	exchange(t, dialled, accepted)
}

// helloPackets are the first packets of n dials that never go on.
func helloPackets(t testing.TB, n int, config *tls.Config) [][]byte {
	t.Helper()
	sink, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	from, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &quicgo.Transport{Conn: from}
	defer func() { _ = tr.Close(); _ = from.Close() }()
	var all [][]byte
	buf := make([]byte, 64<<10)
	for range n {
		ctx, cancel := context.WithCancel(t.Context())
		dialled := make(chan struct{})
		go func() {
			_, _ = tr.Dial(ctx, sink.LocalAddr(), config, nil) // nobody answers
			close(dialled)
		}()
		k, _, err := sink.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, append([]byte(nil), buf[:k]...))
		cancel()
		<-dialled
	}
	return all
}

func TestHalfOpenHandshakesLockNobodyOut(t *testing.T) {
	swarm := transporttest.NewSwarm(t)
	l := mustListen(t, newTestCarrier(t, Options{Credentials: swarm.Member(t)}), "127.0.0.1:0")
	n := 400
	if os.Getenv("MTOR_LONG") != "" {
		n = 10_000
	}
	flood, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	for i, packet := range helloPackets(t, n, swarm.Member(t).Client(alpn)) {
		if _, err := flood.Write(packet); err != nil {
			t.Fatal(err)
		}
		if i%200 != 199 {
			continue
		}
		honest := swarm.Member(t)
		dialled := mustDial(t, newTestCarrier(t, Options{Credentials: honest}), l.Addr().String())
		accepted := mustAccept(t, l)
		if accepted.Peer() != honest.ID() {
			t.Errorf("accepted %v; the member is %v", accepted.Peer(), honest.ID())
		}
		exchange(t, dialled, accepted)
		_, _ = dialled.Close(), accepted.Close()
	}
}
