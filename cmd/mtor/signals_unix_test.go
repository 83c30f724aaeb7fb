//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// start runs mtor in a folder of its own until the test ends.
func start(t *testing.T, dir string, args ...string) *process.Process {
	t.Helper()
	exe, err := exec.LookPath("mtor") // TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(process.Spec{Name: args[0], Exe: exe, Args: args, Dir: dir, Env: []string{raceEnv}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// patient bounds what a test waits for.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// nobody is an address that nothing listens on, though its port is held.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.LocalAddr().String()
}

func TestSignalsEndAClientWithTheRightCode(t *testing.T) {
	for name, c := range map[string]struct {
		sig    syscall.Signal
		noMenu bool
		code   int
	}{
		"SIGTERM while serving": {syscall.SIGTERM, true, 0},
		"SIGINT while serving":  {syscall.SIGINT, true, 130},
		"SIGTERM at the menu":   {syscall.SIGTERM, false, 130},
		"SIGINT at the menu":    {syscall.SIGINT, false, 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := patient(t)
			args := []string{"client", "127.0.0.1:0", nobody(t), nobody(t), "c.log", "--state", "state"}
			if c.noMenu {
				args = append(args, "--no-menu")
			}
			p := start(t, t.TempDir(), args...)
			if _, err := p.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			if !c.noMenu { // a menu that has answered is a menu that runs
				if _, err := p.Ask(ctx, "show downloads"); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			var exit *process.ExitError
			if err := p.Wait(ctx); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if p.ExitCode() != c.code {
				t.Errorf("exit code %d, want %d: %v", p.ExitCode(), c.code, exit)
			}
			if errs := p.Output(process.Stderr); len(errs) != 1 {
				t.Errorf("more than the ready line on stderr: %q", errs)
			}
		})
	}
}

func TestHangupReopensTheLog(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	log := filepath.Join(dir, "t.log")
	p := start(t, dir, "tracker", "127.0.0.1:0", nobody(t), "t.db", "t.log")
	if _, err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	// Made before the signal, so that its first line can be waited for.
	if err := syscall.Mkfifo(log, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	reopened := make(chan error, 1)
	go func() {
		f, err := os.Open(log) // waits for the writer
		if err != nil {
			reopened <- err
			return
		}
		defer func() { _ = f.Close() }()
		for lines := bufio.NewScanner(f); lines.Scan(); { // until the tracker has ended
			if strings.Contains(lines.Text(), "log file reopened") {
				reopened <- nil
			}
		}
	}()
	select {
	case err := <-reopened:
		if err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		t.Fatal("the log was not reopened")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestTrackerOutlivesTheReaderOfItsOutput(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	exe, err := exec.LookPath("mtor")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // whatever is written now is answered with EPIPE and SIGPIPE
	log := filepath.Join(dir, "t.log")
	if err := syscall.Mkfifo(log, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe, "tracker", "127.0.0.1:0", nobody(t), "t.db", "t.log")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, w, w
	cmd.Env = append(os.Environ(), raceEnv)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	// The tracker writes its ready line before the first line of its log.
	if _, err := bufio.NewReader(f).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, f) }() // ends with the tracker
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the tracker did not end by itself: %v", err)
	}
}
