package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPipedScriptSharesGetsAndEnds(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("a folder/it's data.bin", 3*pieceSize+7, 1)
	sharer := s.client(10, "sharer")
	sharer.do(`share "a folder/it's data.bin" 'a folder/x y.mtorrent'`)
	sharer.shows("[S] it's data.bin")
	out, errs, code := s.piped(20, "downloader", `
		# a comment
		get "a folder/x y.mtorrent" my\ copy
	`)
	if code != 0 || len(out) == 0 {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	s.same("a folder/it's data.bin", "my copy")
	// The end of input has taken it out of the lists.
	s.allList(s.id("a folder/x y.mtorrent"), whole(sharer)...)
}

func TestEveryPipedCommandIsAnswered(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	out, errs, code := s.piped(10, "client", strings.Join([]string{
		"share data x.mtorrent", "show downloads", "wait", "remove x.mtorrent", "show downloads", "quit",
	}, "\n"))
	if code != 0 {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	if len(out) < 5 || !strings.HasPrefix(out[1], "[S] data") {
		t.Fatalf("answers: %q", out)
	}
	for _, l := range out[2:] {
		if strings.HasPrefix(l, "[S]") {
			t.Errorf("after remove, still %q", l)
		}
	}
}

func TestFailedCommandGivesExitCodeOne(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	if err := os.Mkdir(s.path("folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"share missing x.mtorrent", "share folder x.mtorrent", "get missing.mtorrent copy",
		"remove missing.mtorrent", "frobnicate", "share data", `share "data x.mtorrent`,
	} {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			out, errs, code := s.piped(10, "client", command+"\nshow downloads\n")
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			if n := len(slices.DeleteFunc(slices.Clone(errs), func(l string) bool { return !strings.HasPrefix(l, "error: ") })); n != 1 {
				t.Errorf("%d error lines in %q", n, errs)
			}
			if len(out) != 1 {
				t.Errorf("answers: %q", out)
			}
			if s.exists("x.mtorrent") || s.exists("copy") {
				t.Error("a failed command leaves a file")
			}
		})
	}
}

func TestRefusedMtorrentCreatesNothing(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	const digest = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	good := `{"mtorrent": 1, "tracker_url_1": "` + s.trackers[0].addr + `", "tracker_url_2": "` + s.trackers[1].addr +
		`", "filename": "f", "filesize": 3, "hash_string": "` + digest + `"}`
	swap := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%q is not in the sample", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	for field, text := range map[string]string{
		"JSON":          "",
		"mtorrent":      swap(`"mtorrent": 1`, `"mtorrent": 7`),
		"extra":         swap(`"mtorrent": 1`, `"mtorrent": 1, "extra": 2`),
		"filename":      swap(`"f"`, `"../f"`),
		"filesize":      swap(`3,`, `-3,`),
		"hash_string":   swap(digest, digest[1:]),
		"tracker_url_1": swap(s.trackers[0].addr, "nowhere"),
	} {
		t.Run(field, func(t *testing.T) {
			s := s.in(t)
			dir := t.TempDir()
			file := filepath.Join(dir, "x.mtorrent")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, errs, code := s.piped(10, "client", "get "+file+" "+dir+"\n")
			i := slices.IndexFunc(errs, func(l string) bool { return strings.HasPrefix(l, "error: ") })
			if code != 1 || i < 0 || !strings.Contains(errs[i], field) {
				t.Errorf("code %d, %q: want code 1 and an error that names %s", code, errs, field)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
		})
	}
}

func TestWaitGivesUpAfterItsTimeout(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	sharer.quit()
	d := s.client(20, "downloader")
	d.do("get x.mtorrent copy")
	began := time.Now()
	d.refuses("wait --timeout 200ms")
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("wait gave up after %s", took)
	}
	if err := d.Type("quit"); err != nil {
		t.Fatal(err)
	}
	if _, _, code := s.ends(d.Process); code != 1 {
		t.Errorf("exit code %d after a failed wait", code)
	}
	if s.exists("copy") {
		t.Error("an unfinished file stands under its final name")
	}
}

func TestEndOfInputWithoutACommandServes(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	c := s.client(10, "server")
	c.do("share data x.mtorrent")
	c.quit()
	for name, flags := range map[string][]string{"end of input": nil, "no-menu": {"--no-menu"}} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			server := s.spawn("server", s.clientArgs(10, "server", flags...)...)
			if _, err := server.Ready(s.ctx); err != nil {
				t.Fatal(err)
			}
			server.CloseInput()
			out, errs, code := s.piped(20, "downloader", "get x.mtorrent copy")
			if code != 0 {
				t.Fatalf("code %d, %q, %q", code, out, errs)
			}
			s.same("data", "copy")
			terminate(t, server)
			if err := server.Wait(s.ctx); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(s.path("downloader.state")); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(s.path("copy")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestInterruptedClientEndsWithCode130(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	c := s.client(10, "client")
	interrupt(t, c.Process)
	if _, errs, code := s.ends(c.Process); code != 130 {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestWrongUsageGivesExitCodeTwo(t *testing.T) {
	t.Parallel()
	s := standalone(t)
	for _, args := range []string{
		"client", "client 127.0.0.1:0", "tracker", "frobnicate", "client --frobnicate",
		"client nowhere 127.0.0.1:1 127.0.0.1:2 x.log --state x",
		"client 127.0.0.1:0 nowhere 127.0.0.1:2 x.log --state x",
		"client 127.0.0.1:0 127.0.0.1:1 127.0.0.1:2 x.log", // port 0 without --state
		"tracker 127.0.0.1:99999 127.0.0.1:2 x.db x.log",
		"demo one two",
	} {
		p := s.spawn(args, strings.Fields(args)...)
		p.CloseInput()
		_, errs, code := s.ends(p)
		if code != 2 || len(errs) == 0 || !strings.HasPrefix(errs[0], "error: ") {
			t.Errorf("mtor %s: code %d, %q", args, code, errs)
		}
		if s.exists("x.log") || s.exists("x.db") || s.exists("x") {
			t.Errorf("mtor %s: creates a file", args)
		}
	}
}

func TestTakenPortIsRefused(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	p := s.spawn("second", "tracker", s.trackers[0].addr, s.trackers[1].addr, "other.db", "other.log")
	_, errs, code := s.ends(p)
	if said := strings.Join(errs, "\n"); code != 1 || !strings.Contains(said, s.trackers[0].addr) {
		t.Errorf("code %d, %q", code, said)
	}
}

func TestOfflineTorrentCommands(t *testing.T) {
	t.Parallel()
	s := standalone(t)
	s.write("data", 3*pieceSize+1, 1)
	tool := func(args ...string) (string, int) {
		p := s.spawn("mtor", args...)
		p.CloseInput()
		out, errs, code := s.ends(p)
		return strings.Join(append(out, errs...), "\n"), code
	}
	_, usage := tool("torrent", "create", "--help")
	if usage != 0 {
		t.Fatalf("mtor torrent create --help ends with %d", usage)
	}
	if said, code := tool("torrent", "create", "data", "x.mtorrent", "--tracker", "127.0.0.1:1", "--tracker", "127.0.0.1:2"); code != 0 {
		t.Fatalf("create: code %d, %s", code, said)
	}
	if said, code := tool("torrent", "show", "x.mtorrent"); code != 0 || !strings.Contains(said, s.id("x.mtorrent").String()) {
		t.Errorf("show: code %d, %s", code, said)
	}
	if said, code := tool("torrent", "verify", "x.mtorrent", "data"); code != 0 {
		t.Errorf("verify: code %d, %s", code, said)
	}
	s.write("data", 3*pieceSize+1, 2)
	if said, code := tool("torrent", "verify", "x.mtorrent", "data"); code != 1 {
		t.Errorf("verify of a changed file: code %d, %s", code, said)
	}
	if said, code := tool("version"); code != 0 || !strings.Contains(said, "mtor") {
		t.Errorf("version: code %d, %s", code, said)
	}
}

// in is the same swarm for a subtest.
func (s *swarm) in(t *testing.T) *swarm {
	t.Helper()
	sub := *s
	sub.T = t
	return &sub
}
