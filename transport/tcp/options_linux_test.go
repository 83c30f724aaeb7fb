package tcp

import (
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mtor-dev/mtor/transport"
)

// optionsOf are the congestion control and the user timeout in ms of a
// session's socket.
func optionsOf(t *testing.T, s transport.Session) (congestion string, timeout, keepIdle, keepCount int) {
	t.Helper()
	raw, err := s.(*session).conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		congestion, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		timeout, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		keepIdle, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		keepCount, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(congestion, "\x00"), timeout, keepIdle, keepCount
}

// others are the congestion controls that this process may choose.
func others(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(available)
	if err != nil {
		t.Skip("the kernel does not name its congestion controls")
	}
	var names []string
	for _, name := range strings.Fields(string(b)) {
		if CheckCongestion(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

func TestBothEndsOfASessionHaveTheOptionsOfTheirSide(t *testing.T) {
	for _, name := range others(t) {
		o := Options{Congestion: name}
		l, err := o.listenBoth(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dialled, err := o.dialPlain(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer dialled.Close()
		accepted, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		for side, s := range map[string]transport.Session{"dialled": dialled, "accepted": accepted} {
			congestion, timeout, idle, count := optionsOf(t, s)
			if congestion != name || timeout != int(userTimeout.Milliseconds()) || idle != int(keepAlive.Seconds()) || count != keepAliveCount {
				t.Errorf("%s with %s: %q, user timeout %d ms, keep-alive after %d s, %d times", side, name, congestion, timeout, idle, count)
			}
		}
	}
}

func TestCongestionControlThatTheKernelLacksIsNamed(t *testing.T) {
	err := CheckCongestion("nosuch")
	if err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("got %v", err)
	}
	if _, err := (Options{Congestion: "nosuch"}).listenBoth(t.Context(), "127.0.0.1:0"); err == nil {
		t.Error("it was listened with all the same")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := (Options{Congestion: "nosuch"}).dialPlain(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("dialled with %v", err)
	}
}
