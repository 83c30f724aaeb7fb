package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// runTorrent runs `mtor torrent args...`; both outputs are no terminals.
func runTorrent(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := newRootCmd()
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(append([]string{"torrent"}, args...))
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

// madeTorrent creates a .mtorrent of size zero bytes through the command.
func madeTorrent(t *testing.T, size int) (path, mtorrent string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk image.raw")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	mtorrent = path + torrentfmt.Ext
	stdout, stderr, err := runTorrent(t, "create", path, mtorrent, "--tracker", "10.0.0.1:7000", "--tracker", "quic://[::1]:7000")
	if err != nil || stderr != "" || !strings.HasPrefix(stdout, "wrote "+mtorrent+": ") {
		t.Fatalf("create: %q, %q, %v", stdout, stderr, err)
	}
	return path, mtorrent
}

func TestShowNamesEveryField(t *testing.T) {
	_, mtorrent := madeTorrent(t, 1<<20)
	got, _, err := runTorrent(t, "show", mtorrent)
	if err != nil {
		t.Fatal(err)
	}
	const want = `name:        disk image.raw
size:        1.0 MiB (1048576 bytes)
pieces:      2 of up to 512 KiB
torrent ID:  1ae3cb11a2f9310bcbab832ebf4e82897920a8e0
tracker 1:   10.0.0.1:7000
tracker 2:   quic://[::1]:7000
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestShowAsJSON(t *testing.T) {
	_, mtorrent := madeTorrent(t, 1)
	stdout, _, err := runTorrent(t, "show", "--json", mtorrent)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"filename": "disk image.raw", "filesize": 1.0, "pieces": 1.0, "piece_size": 524288.0,
		"torrent_id": "7ab8dc8456c25f132551f157c77a1888ef918fac",
		"trackers":   []any{"10.0.0.1:7000", "quic://[::1]:7000"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestShowQuotesANameThatWouldDeceive(t *testing.T) {
	u := &torrentfmt.Torrent{Trackers: [2]string{"a:1", "b:2"}, Name: "a\u202egpj.exe", Hashes: []byte{}}
	path := filepath.Join(t.TempDir(), "a.mtorrent")
	if _, err := torrentfmt.WriteFile(path, u); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := runTorrent(t, "show", path)
	if err != nil || !strings.Contains(stdout, `name:        "a\u202egpj.exe"`) {
		t.Errorf("got %q, %v", stdout, err)
	}
}

func TestShowRefusesWithTheFieldAndThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mtorrent")
	if err := os.WriteFile(path, []byte(`{"mtorrent": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := runTorrent(t, "show", path)
	if stdout != "" || err == nil || err.Error() != path+": mtorrent: unknown version 3: want 1 or 2" {
		t.Errorf("got %q, %v", stdout, err)
	}
}

func TestVerifyAWholeFile(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 20} {
		path, mtorrent := madeTorrent(t, size)
		for _, at := range []string{path, filepath.Dir(path)} {
			stdout, stderr, err := runTorrent(t, "verify", mtorrent, at)
			if err != nil || stderr != "" || strings.Contains(stdout, "bad:") || !strings.Contains(stdout, "file:  "+path+"\n") {
				t.Errorf("%d bytes at %s: %q, %q, %v", size, at, stdout, stderr, err)
			}
		}
	}
}

func TestVerifyNamesBadPiecesAsRanges(t *testing.T) {
	path, mtorrent := madeTorrent(t, 6*torrentfmt.PieceSize)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []int64{1, 2} {
		if _, err := f.WriteAt([]byte("x"), piece*torrentfmt.PieceSize+9); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(6*torrentfmt.PieceSize-1), f.Close()); err != nil {
		t.Fatal(err)
	}

	stdout, _, err := runTorrent(t, "verify", mtorrent, path)
	if err == nil || !strings.HasSuffix(err.Error(), "is not whole: 3 of 6 pieces bad or missing") {
		t.Errorf("got %v", err)
	}
	want := "file:  " + path + `
size:  3.0 MiB (3145727 bytes), want 3.0 MiB (3145728 bytes)
good:  3 of 6 pieces
bad:   1-2, 5
`
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Error(diff)
	}

	stdout, _, err = runTorrent(t, "verify", "--json", mtorrent, path)
	if err == nil {
		t.Error("--json calls it whole")
	}
	var got verifyReport
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	wantReport := verifyReport{
		Name: "disk image.raw", Path: path, Want: 3145728, Size: 3145727,
		Pieces: 6, Good: 3, Bad: []pieceRange{{1, 2}, {5, 5}},
	}
	if diff := cmp.Diff(wantReport, got); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyCallsALongerFileNotWhole(t *testing.T) {
	path, mtorrent := madeTorrent(t, 0)
	if err := os.WriteFile(path, []byte("xyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := runTorrent(t, "verify", mtorrent, path)
	if err == nil || !strings.HasSuffix(err.Error(), "is not whole: 3 bytes, want 0") ||
		!strings.Contains(stdout, "size:  3 bytes, want 0 bytes\n") {
		t.Errorf("got %q, %v", stdout, err)
	}
	stdout, _, _ = runTorrent(t, "verify", "--json", mtorrent, path)
	if !strings.Contains(stdout, `"bad": []`) || !strings.Contains(stdout, `"whole": false`) {
		t.Errorf("got %s", stdout)
	}
}

func TestVerifyAMissingFile(t *testing.T) {
	path, mtorrent := madeTorrent(t, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, filepath.Dir(path)} {
		if _, _, err := runTorrent(t, "verify", mtorrent, at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestCreateReusesOrRefusesWhatIsThere(t *testing.T) {
	path, mtorrent := madeTorrent(t, 5)
	before, err := os.ReadFile(mtorrent)
	if err != nil {
		t.Fatal(err)
	}
	stdout, _, err := runTorrent(t, "create", path, mtorrent, "--tracker", "10.0.0.1:7000", "--tracker", "quic://[::1]:7000")
	if err != nil || !strings.HasPrefix(stdout, "reused "+mtorrent+": 5 B, 1 piece, torrent ID ") {
		t.Errorf("the same again: %q, %v", stdout, err)
	}
	var exists *torrentfmt.ExistsError
	for _, out := range []string{mtorrent, path} {
		stdout, _, err = runTorrent(t, "create", path, out, "--tracker", "a:1", "--tracker", "b:2")
		if stdout != "" || !errors.As(err, &exists) || exists.Path != out {
			t.Errorf("over %s: %q, %v", out, stdout, err)
		}
	}
	if after, err := os.ReadFile(mtorrent); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the .mtorrent became %q, %v", after, err)
	}
}

func TestRefusedCommandsSayWhyAndWriteNothing(t *testing.T) {
	path, _ := madeTorrent(t, 1)
	out := filepath.Join(t.TempDir(), "out.mtorrent")
	a, b := "--tracker=a:1", "--tracker=b:2"
	tests := []struct {
		code int
		want string // a part of the message
		args []string
	}{
		{exitUsage, "want FILE.mtorrent, got 0 arguments", []string{"show"}},
		{exitUsage, "want FILE.mtorrent FILE|FOLDER, got 1 argument", []string{"verify", path}},
		{exitUsage, "given 0 times", []string{"create", path, out}},
		{exitUsage, "given 1 times", []string{"create", path, out, a}},
		{exitUsage, "given 3 times", []string{"create", path, out, a, b, a}},
		{exitUsage, `--tracker "a:0": port 0`, []string{"create", path, out, "--tracker=a:0", b}},
		{exitUsage, "unknown scheme", []string{"create", path, out, a, "--tracker=udp://b:1"}},
		{exitUsage, "unknown flag", []string{"show", path, "--jsom"}},
		{exitFailed, "no such file", []string{"show", out}},
		{exitFailed, "no such file", []string{"create", path, filepath.Join(t.TempDir(), "no", "out.mtorrent"), a, b}},
		{exitFailed, "is not a folder", []string{"create", path, filepath.Join(path, "out.mtorrent"), a, b}},
		{exitFailed, "nothing to share", []string{"create", t.TempDir(), out, a, b}},
	}
	for _, tt := range tests {
		stdout, _, err := runTorrent(t, tt.args...)
		if stdout != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %q, %v; want %q", tt.args, stdout, err, tt.want)
		}
		if code := report(t.Context(), io.Discard, err); code != tt.code {
			t.Errorf("%q: exit code %d, want %d", tt.args, code, tt.code)
		}
	}
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestRangesOfBadPieces(t *testing.T) {
	have := bitset.New(100)
	if got, want := clearRanges(have), []pieceRange{{0, 99}}; !cmp.Equal(got, want) {
		t.Errorf("all bad: %v", got)
	}
	for i := range uint(50) {
		have.Set(2 * i)
	}
	ranges := clearRanges(have)
	if len(ranges) != 50 || ranges[0] != (pieceRange{1, 1}) || ranges[49] != (pieceRange{99, 99}) {
		t.Errorf("every other one bad: %v", ranges)
	}
	if s := joinRanges(ranges); !strings.HasPrefix(s, "1, 3, 5, ") || !strings.HasSuffix(s, ", 39, and 30 more ranges (--json lists all)") {
		t.Errorf("joined as %q", s)
	}
	if got := clearRanges(have.SetAll()); got == nil || len(got) != 0 {
		t.Errorf("all good: %#v", got)
	}
}

func TestProgressWaitsASecondAndCleansUp(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &hashProgress{w: &out, now: func() time.Time { return now }, start: now}
	now = now.Add(999 * time.Millisecond)
	p.update(10<<20, 100<<20)
	p.clear()
	if out.Len() > 0 {
		t.Errorf("within the first second: %q", &out)
	}
	now = now.Add(time.Millisecond)
	p.update(20<<20, 100<<20)
	p.update(21<<20, 100<<20) // at the same instant: not drawn
	now = now.Add(9 * time.Second)
	p.update(100<<20, 100<<20)
	p.clear()
	const want = "\rhashed 20 MiB of 100 MiB, 20 %, 20 MiB/s" + "\rhashed 100 MiB of 100 MiB, 100 %, 10 MiB/s"
	if got := strings.TrimRight(out.String(), "\r "); got != want {
		t.Errorf("drew %q, want %q", got, want)
	}
	if !strings.HasSuffix(out.String(), " \r") {
		t.Errorf("the line stays: %q", &out)
	}
}
