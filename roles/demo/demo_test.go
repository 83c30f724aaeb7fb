package demo

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCompletionIsReadFromTheLog(t *testing.T) {
	var log strings.Builder
	l := slog.New(slog.NewTextHandler(&log, nil))
	l.Info("starts", "name", "x y=z \"q\"")
	l.Info(completeMsg, "name", "a file", "bytes", 1048577, "seconds", 0.25, "from", "tcp 127.0.0.1:7001=2, quic [::1]:7002=1")
	l.Info("goes on")
	got, err := readCompletion(strings.NewReader(log.String()))
	if err != nil {
		t.Fatal(err)
	}
	want := completion{bytes: 1048577, seconds: 0.25, from: []source{{"tcp", "127.0.0.1:7001", 2}, {"quic", "[::1]:7002", 1}}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(completion{}, source{})); d != "" {
		t.Fatal(d)
	}
}

func TestLogWithoutACompletionIsAnError(t *testing.T) {
	for _, log := range []string{
		"", "msg=\"download complete", `msg="download complete"`,
		`msg="download complete" bytes=1`, `msg="download complete" bytes=1 seconds=x`,
		`msg="download complete" bytes=1 seconds=1 from=nonsense`, `msg="download complete" bytes=1 seconds=1 from="a b=c"`,
	} {
		if c, err := readCompletion(strings.NewReader(log)); err == nil {
			t.Errorf("%q is read as %+v", log, c)
		}
	}
}

func FuzzCompletion(f *testing.F) {
	f.Add("time=x level=INFO msg=\"download complete\" bytes=1 seconds=0.5 from=\"tcp 127.0.0.1:1=3\"")
	f.Add("=\"\\x\" =")
	f.Add("msg=\"download complete\" bytes=9999999999999999999 from=,")
	f.Fuzz(func(t *testing.T, log string) {
		if c, err := readCompletion(strings.NewReader(log)); err == nil && !strings.Contains(log, "=") {
			t.Errorf("%q is read as %+v", log, c)
		}
	})
}

func TestStandingIsReadFromShowDownloads(t *testing.T) {
	for line, want := range map[string]standing{
		"[D] data.bin 45% 12 MB/s 2 peers":                  {percent: 45},
		"[D] a 99% b 7% 0 B/s 1 peer":                       {percent: 7},
		"[D] data.bin 0% 0 B/s 0 peers (the disk is full)":  {},
		"[S] data.bin 100% 3 MB/s up 1 peer":                {whole: true, percent: 100},
		"[S] data.bin":                                      {whole: true, percent: 100},
		"[D] data.bin 5% 0 B/s 0 peers (half 50% is there)": {percent: 5},
	} {
		got, err := readStanding(line)
		if err != nil || got != want {
			t.Errorf("%q is read as %+v, %v: want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{"", "[!] data.bin the disk is full", "no downloads"} {
		if got, err := readStanding(line); err == nil {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

func TestQuotedWordsAreReadAgainByAShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("this machine has no sh")
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[ -~é\t]*`), 1, 5).Draw(t, "words")
		out, err := exec.Command(sh, "-c", `printf '%s\n' `+quoted(words)).CombinedOutput()
		if want := strings.Join(words, "\n") + "\n"; err != nil || string(out) != want {
			t.Fatalf("%q is quoted as %s and read as %q, %v", words, quoted(words), out, err)
		}
	})
}

func TestSameBytes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", 3*chunk)
	a := write("a", long+"end")
	for name, c := range map[string]struct {
		text string
		same bool
	}{
		"equal":     {long + "end", true},
		"last byte": {long + "enD", false},
		"shorter":   {long + "en", false},
		"longer":    {long + "end.", false},
		"cut":       {long, false},
		"empty":     {"", false},
		"first":     {"y" + long[1:] + "end", false},
	} {
		if err := sameBytes(t.Context(), a, write("b", c.text)); (err == nil) != c.same {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := sameBytes(t.Context(), write("x", ""), write("y", "")); err != nil {
		t.Errorf("two empty files: %v", err)
	}
	if err := sameBytes(t.Context(), a, filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing copy: %v", err)
	}
}

func TestGeneratedDataIsTheSameAtEveryRun(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, path := range []string{a, b} {
		if err := generate(t.Context(), path, 2*chunk+3); err != nil {
			t.Fatal(err)
		}
	}
	if err := sameBytes(t.Context(), a, b); err != nil {
		t.Error(err)
	}
	if size, err := regularSize(a); err != nil || size != 2*chunk+3 {
		t.Errorf("%d bytes, %v", size, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := generate(ctx, a, chunk); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

func TestTableNamesTheSources(t *testing.T) {
	var out strings.Builder
	n := &narrator{w: &out}
	n.table([]row{
		{"downloader-1", "tcp", completion{bytes: 300e6, seconds: 1, from: []source{{"quic", "127.0.0.1:2", 1}, {"tcp", "127.0.0.1:1", 511}}}},
		{"downloader-2", "quic", completion{}},
	}, map[string]string{"127.0.0.1:1": "sharer"})
	want := `
   CLIENT        TRANSPORT  MB/S  PIECES FROM
   downloader-1  tcp        300   sharer 511 (tcp), 127.0.0.1:2 1 (quic)
   downloader-2  quic       -     -

`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestProgressKeepsToOneLineOnATerminalAndIsRareElsewhere(t *testing.T) {
	var out strings.Builder
	n := &narrator{w: &out, terminal: true}
	n.progress([]standing{{name: "a", percent: 100}, {name: "b"}}, false)
	n.progress([]standing{{name: "a", percent: 7}}, false)
	n.say("done")
	if want := "\r   a 100%   b   0%\r   a   7%         \n   done\n"; out.String() != want {
		t.Errorf("on a terminal: %q, want %q", out.String(), want)
	}
	out.Reset()
	n = &narrator{w: &out}
	for i := range 50 {
		n.progress([]standing{{name: "a", percent: i}}, false)
	}
	n.progress([]standing{{name: "a", percent: 50}}, true)
	if want := "   a   0%\n   a  50%\n"; out.String() != want {
		t.Errorf("elsewhere: %q, want %q", out.String(), want)
	}
}

func TestFailedDemoLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err := Run(t.Context(), Options{Exe: filepath.Join(tmp, "no-such-binary"), File: file, Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "tracker 1") {
		t.Errorf("err = %v", err)
	}
	if took := time.Since(began); took > readyTimeout {
		t.Errorf("it took %s to see that there is no binary", took)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := Run(t.Context(), Options{Exe: "unused", File: t.TempDir(), Out: io.Discard}); err == nil {
		t.Error("a folder is taken")
	}
}
