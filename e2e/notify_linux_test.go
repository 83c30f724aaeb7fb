package e2e

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

func TestServiceManagerHearsOfReadyReloadAndStop(t *testing.T) {
	s := newSwarm(t, false, false)
	at := &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	deadline, _ := s.ctx.Deadline()
	if err := manager.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		n, err := manager.Read(b)
		if got := string(b[:n]); err != nil || got != want && !strings.HasPrefix(got, want+"\n") {
			t.Fatalf("heard %q, %v: want %q", got, err, want)
		}
	}
	for name, args := range map[string][]string{
		"tracker": s.trackers[0].args, "client": s.clientArgs(11, "a", "--no-menu"),
	} {
		begun := time.Now()
		p := s.start(process.Spec{Name: name, Exe: binary, Args: args, Dir: s.dir, Env: []string{"NOTIFY_SOCKET=" + at.Name}})
		hears("READY=1")
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		hears("RELOADING=1")
		hears("READY=1")
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		hears("STOPPING=1")
		if err := p.Wait(s.ctx); err != nil {
			t.Errorf("%s, after %v: %v", name, time.Since(begun), err)
		}
	}
}
