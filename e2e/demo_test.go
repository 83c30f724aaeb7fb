package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// demo starts mtor demo with a folder for temporary files of its own.
func (s *swarm) demo(args ...string) (p *process.Process, tmp string) {
	s.Helper()
	tmp = s.path("tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		s.Fatal(err)
	}
	p = s.start(process.Spec{
		Name: "demo", Exe: binary, Args: append([]string{"demo"}, args...), Dir: s.dir,
		Env: []string{"TMPDIR=" + tmp, "TMP=" + tmp},
	})
	return p, tmp
}

// says waits until the demo has printed a line that holds text.
func (s *swarm) says(p *process.Process, text string) {
	s.Helper()
	if _, err := p.Line(s.ctx, 0, func(l process.Line) bool { return strings.Contains(l.Text, text) }); err != nil {
		s.Fatalf("wait for %q: %v", text, err)
	}
}

// nobodyIn waits until no process has its working directory under dir.
func (s *swarm) nobodyIn(dir string) {
	s.Helper()
	if runtime.GOOS != "linux" {
		s.Log("processes are counted on Linux only")
		return
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		s.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		cwds, err := filepath.Glob("/proc/[0-9]*/cwd")
		if err != nil {
			s.Fatal(err)
		}
		in := slices.IndexFunc(cwds, func(link string) bool {
			at, err := os.Readlink(link) // fails for processes that are over
			return err == nil && strings.HasPrefix(at, dir+"/")
		})
		if in < 0 {
			return
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("a process is left in %s: %s", dir, cwds[in])
		}
	}
}

func (s *swarm) empty(dir string) {
	s.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		s.Errorf("left in %s: %v, %v", dir, left, err)
	}
}

func TestDemoOfAFile(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := standalone(t)
	s.write("it's a file.bin", 16*pieceSize+1, 1)
	p, tmp := s.demo("it's a file.bin")
	out, errs, code := s.ends(p)
	text := strings.Join(out, "\n")
	if code != 0 || len(errs) > 0 {
		t.Fatalf("code %d, %q\n%s", code, errs, text)
	}
	for _, want := range []string{"SIGKILL", "both trackers list the same", "downloader-1", "quic", "byte-identical"} {
		if !strings.Contains(text, want) {
			t.Errorf("no word of %q in\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "\x1b\r") {
		t.Errorf("control characters off a terminal: %q", text)
	}
	s.nobodyIn(tmp)
	s.empty(tmp)
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := standalone(t)
	p, tmp := s.demo()
	s.says(p, "fetch it at once")
	interrupt(t, p)
	if out, errs, code := s.ends(p); code != 130 {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	s.nobodyIn(tmp)
	s.empty(tmp)
}

func TestKilledDemoTakesItsProcessesAlong(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends processes with their parent")
	}
	t.Parallel()
	heavy(t)
	s := standalone(t)
	p, tmp := s.demo()
	s.says(p, "fetch it at once")
	p.Kill()
	s.nobodyIn(tmp)
}

// TestKeptDemoCanBeRepeatedByHand runs what --keep prints, as it stands.
func TestKeptDemoCanBeRepeatedByHand(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := standalone(t)
	s.write("it's a file.bin", 16*pieceSize+1, 1)
	p, tmp := s.demo("--keep", "it's a file.bin")
	out, errs, code := s.ends(p)
	if code != 0 {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	folders, err := filepath.Glob(filepath.Join(tmp, "*", "again"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("kept: %q, %v", folders, err)
	}
	again := folders[0]
	var trackers, clients []*process.Process
	killed := false
	for _, line := range out {
		line, ok := strings.CutPrefix(line, "  ")
		switch {
		case !ok:
		case strings.HasPrefix(line, "../mtor "):
			// Without quotes a line's words are its fields.
			p := s.start(process.Spec{Name: line, Exe: filepath.Join(again, "..", "mtor"), Args: strings.Fields(line)[1:], Dir: again})
			if _, err := p.Ready(s.ctx); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "../mtor client ") {
				clients = append(clients, p)
			} else {
				trackers = append(trackers, p)
			}
		case strings.HasPrefix(line, "    "):
			if _, err := clients[len(clients)-1].Ask(s.ctx, strings.TrimSpace(line)); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(line, "# "):
			trackers[0].Kill()
			killed = true
		}
	}
	if len(clients) != 4 || !killed {
		t.Fatalf("%d clients, killed a tracker: %v, in\n%s", len(clients), killed, strings.Join(out, "\n"))
	}
	for i, c := range clients {
		if _, err := c.Ask(s.ctx, "wait"); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			s.same("it's a file.bin", filepath.Join(again, fmt.Sprintf("copy-%d", i)))
		}
	}
}
