//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// runIn runs mtor in a folder and returns what it writes to stdout, to stderr, and
// its exit code.
func runIn(ctx context.Context, t *testing.T, dir string, args ...string) (out, errs string, code int) {
	t.Helper()
	exe, err := exec.LookPath("mtor")
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = dir, &stdout, &stderr, append(os.Environ(), raceEnv)
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func TestQuitFromAnotherTerminalEndsAClientAtItsMenuInOrder(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	p := start(t, dir, "client", "127.0.0.1:0", nobody(t), nobody(t), "c.log", "--state", "state", "--socket", "s")
	if _, err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ask(ctx, "show downloads"); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := runIn(ctx, t, dir, "client", "quit", "--socket", "s"); code != 0 {
		t.Errorf("quit: %d %q %q", code, out, errs)
	}
	if err := p.Wait(ctx); err != nil || p.ExitCode() != 0 {
		t.Errorf("the client: %d, %v", p.ExitCode(), err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "s")); err == nil {
		t.Error("its socket is still there")
	}
}

func TestSocketOfAKilledClientIsTakenOverByTheNext(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	args := []string{"client", "127.0.0.1:0", nobody(t), nobody(t), "c.log", "--state", "state", "--socket", "s", "--no-menu"}
	p := start(t, dir, args...)
	if _, err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	<-p.Done()
	if _, err := os.Lstat(filepath.Join(dir, "s")); err != nil {
		t.Fatalf("a killed client has no time to take it away: %v", err)
	}
	if _, errs, code := runIn(ctx, t, dir, "client", "status", "--socket", "s"); code != exitNoClient {
		t.Errorf("%d: %s", code, errs)
	}
	p = start(t, dir, args...)
	if _, err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := runIn(ctx, t, dir, "client", "status", "--socket", "s"); code != 0 || !strings.Contains(out, "listed as") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
}

func TestInterruptedGetKeepsWhatItHasAndItsClientGoesOn(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("nobody shares this"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := runIn(ctx, t, dir, "torrent", "create", "data", "x.mtorrent", "--tracker", nobody(t), "--tracker", nobody(t)); code != 0 {
		t.Fatal(errs)
	}
	p := start(t, dir, "client", "127.0.0.1:0", nobody(t), nobody(t), "c.log", "--state", "state", "--socket", "s", "--no-menu")
	if _, err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for where, says := range map[string][]string{
		"--alone":    {"data 0% of 18 B", "data: 0% done and kept: the same command goes on from there"},
		"--socket=s": {"data 0% of 18 B", "data: the client goes on with it"},
	} {
		dest := strings.Trim(where, "-=")
		get := start(t, dir, "client", "get", "x.mtorrent", dest, "--wait", where)
		for i, text := range says {
			if _, err := get.Line(ctx, 0, func(l process.Line) bool { return strings.Contains(l.Text, text) }); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if i == 0 {
				if err := get.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _ = get.Wait(ctx); get.ExitCode() != exitInterrupted {
			t.Errorf("%s: exit code %d", where, get.ExitCode())
		}
	}
	if out, errs, code := runIn(ctx, t, dir, "client", "downloads", "--socket", "s"); code != 0 || !strings.Contains(out, "downloading  data") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("the command left %v, %v", left, err)
	}
}
