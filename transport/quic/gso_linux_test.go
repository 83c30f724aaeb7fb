package quic

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/transport"
)

// udpGRO has a UDP socket receive a train of packets as one, with their length
// beside it (udp(7)): on loopback, exactly what was sent as one by UDP_SEGMENT.
const udpGRO = 104

// TestManyPacketsLeaveInOneSystemCall fails where generic segmentation offload
// (GSO) is off: it halves the throughput of QUIC then.
func TestManyPacketsLeaveInOneSystemCall(t *testing.T) {
	if off := os.Getenv("QUIC_GO_DISABLE_GSO"); off != "" {
		t.Fatalf("GSO is off: QUIC_GO_DISABLE_GSO=%s in the environment", off)
	}
	relay := sendThrough(t, func(r *trainRelay) bool { return r.trains.Load() > 0 })
	if relay.trains.Load() == 0 {
		t.Error("GSO is off: every packet left by itself")
	}
}

// TestPacketsGrowToWhatThePathCarries fails where path MTU discovery (RFC 9000,
// section 14.3) is off: packets stay at the 1,280 bytes that every path carries
// then, or fewer, and more of them are needed.
func TestPacketsGrowToWhatThePathCarries(t *testing.T) {
	const grown = 1400
	relay := sendThrough(t, func(r *trainRelay) bool { return r.largest.Load() >= grown })
	if n := relay.largest.Load(); n < grown {
		t.Errorf("path MTU discovery is off: no packet has more than %d bytes", n)
	}
}

// sendThrough sends 4 MiB through a relay, up to 16 times, until it is enough.
func sendThrough(t *testing.T, enough func(*trainRelay) bool) *trainRelay {
	t.Helper()
	tr, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	relay := newTrainRelay(t, l.Addr())
	s, err := tr.Dial(t.Context(), relay.front.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	received := make(chan error, 1)
	go func() {
		peer, err := l.Accept(t.Context())
		if err == nil {
			defer peer.Close()
			var st transport.Stream
			if st, err = peer.Accept(t.Context()); err == nil {
				_, err = io.Copy(io.Discard, st)
			}
		}
		received <- err
	}()
	st, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for sent := 0; sent == 0 || sent < 16 && !enough(relay); sent++ {
		if _, err := st.Write(make([]byte, 4<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	return relay
}

// trainRelay passes packets between a dialler and a listener, and counts the
// trains that come from the dialler.
type trainRelay struct {
	front, back *net.UDPConn
	dialler     atomic.Pointer[net.UDPAddr]
	trains      atomic.Int64
	largest     atomic.Int64 // packet, in bytes
}

func newTrainRelay(t *testing.T, to net.Addr) *trainRelay {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := front.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, udpGRO, 1) }); err != nil {
		t.Fatal(err)
	}
	if setErr != nil {
		t.Skipf("the kernel has no UDP_GRO to see trains by: %v", setErr)
	}
	back, err := net.DialUDP("udp4", nil, to.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	r := &trainRelay{front: front, back: back}
	ended := make(chan struct{}, 2)
	go func() { r.forth(); ended <- struct{}{} }()
	go func() { r.backwards(); ended <- struct{}{} }()
	t.Cleanup(func() {
		front.Close()
		back.Close()
		<-ended
		<-ended
	})
	return r
}

func (r *trainRelay) forth() {
	buf, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, k, _, from, err := r.front.ReadMsgUDP(buf, oob)
		if err != nil {
			return
		}
		r.dialler.Store(from)
		size := max(n, 1)
		if messages, err := syscall.ParseSocketControlMessage(oob[:k]); err == nil {
			for _, m := range messages {
				if m.Header.Level == syscall.IPPROTO_UDP && m.Header.Type == udpGRO && len(m.Data) >= 2 {
					size = int(binary.NativeEndian.Uint16(m.Data))
				}
			}
		}
		if n > size {
			r.trains.Add(1)
		}
		r.largest.Store(max(r.largest.Load(), int64(min(n, size))))
		for at := 0; at < n; at += size {
			_, _ = r.back.Write(buf[at:min(n, at+size)]) // a lost packet is sent anew
		}
	}
}

func (r *trainRelay) backwards() {
	buf := make([]byte, 1<<16)
	for {
		n, err := r.back.Read(buf)
		if err != nil {
			return
		}
		_, _ = r.front.WriteToUDP(buf[:n], r.dialler.Load()) // as above
	}
}
