package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func TestLogIsAppendedToAndReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openLog(config.Log{File: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	log := newLogger(f, config.LogText, slog.LevelInfo)
	log.Debug("too fine")
	log.Info("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Skipf("an open file cannot be renamed here: %v", err)
	}
	log.Info("two")
	if err := f.reopen(); err != nil {
		t.Fatal(err)
	}
	log.Info("three")
	holds(t, path+".1", "before", "msg=one", "msg=two")
	holds(t, path, "msg=three")
}

func TestLogSaysWhatACodeMeans(t *testing.T) {
	var b strings.Builder
	log := newLogger(&b, config.LogText, slog.LevelInfo)
	code := transport.Code(wire.Error_ERROR_GOING_AWAY)
	log.Info("one", "error", fmt.Errorf("ask: %w", &transport.SessionError{Code: code, Remote: true}))
	log.Info("two", "error", &transport.AbortError{Code: transport.Code(wire.Error_ERROR_TOO_MANY)})
	log.Info("three", "error", &transport.SessionError{Err: errors.New("reset (code 8)")})
	for _, want := range []string{
		`error="ask: session closed by the peer (it quits)"`,
		`error="stream aborted by this side (over a limit there)"`,
		`error="session lost: reset (code 8)"`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

func TestLogNamesTheFileAndNoSystemCall(t *testing.T) {
	var b strings.Builder
	log := newLogger(&b, config.LogText, slog.LevelInfo)
	log.Info("one", "error", fmt.Errorf("%w: mend that", &fs.PathError{Op: "statat", Path: "/a b", Err: syscall.ENOENT}))
	log.Info("two", "error", &os.LinkError{Op: "renameat", Old: "/a", New: "/b", Err: syscall.EROFS})
	log.Info("three", "error", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EACCES)})
	for _, want := range []string{
		`error="/a b: there is no such file or folder: mend that"`,
		`error="/b: the file system is read-only"`,
		`error="dial tcp: connect: permission denied"`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

func TestLogInJSONSaysWhatTheTextSays(t *testing.T) {
	var b strings.Builder
	log := newLogger(&b, config.LogJSON, slog.LevelInfo)
	var nobody *net.TCPAddr
	log.Warn("one", "node", registry.NodeID{0xab, 1}, "in", 1500*time.Microsecond, "peers", []string{"a"}, "addr", nobody,
		"error", &transport.AbortError{Code: transport.Code(wire.Error_ERROR_TOO_MANY)})
	var line map[string]any
	if err := json.Unmarshal([]byte(b.String()), &line); err != nil {
		t.Fatal(err)
	}
	when, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["time"]))
	if err != nil || time.Since(when) > time.Hour {
		t.Errorf("time is %v: %v", line["time"], err)
	}
	delete(line, "time")
	want := map[string]any{
		"level": "WARN", "msg": "one", "node": "ab01" + strings.Repeat("0", 36), "in": "1.5ms", "peers": []any{"a"},
		"addr": "<nil>", "error": "stream aborted by this side (over a limit there)",
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogGoesOnWhenReopeningFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.log")
	f, err := openLog(config.Log{File: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	log := newLogger(f, config.LogText, slog.LevelInfo)
	moved := dir + ".away"
	if err := os.Rename(dir, moved); err != nil {
		t.Skipf("a folder with an open file cannot be renamed here: %v", err)
	}
	if err := f.reopen(); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("reopening in a missing folder: %v", err)
	}
	log.Info("still here")
	holds(t, filepath.Join(moved, "x.log"), "still here")
}

func TestLogStaysWithinItsBoundAndKeepsTheNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &logFile{path: path, max: 24, keep: 2}
	var err error
	if f.out, f.size, err = appendTo(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, line := range []string{"one", "two", "three", "four", "five", "six is a line that is longer than the bound", "seven"} {
		if _, err := f.Write([]byte(line + " 4567\n")); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, path, "seven")
	holds(t, path+".1", "six")
	holds(t, path+".2", "four", "five")
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("an old file too many is kept")
	}
}

func TestLogThatCannotBeRotatedGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := &logFile{path: path, max: 8, keep: 1}
	var err error
	if f.out, f.size, err = appendTo(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, line := range []string{"one", "two", "three", "four"} {
		if _, err := f.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, path, "one", "two", "three", "four")
}

// holds checks that a file has one line for each text, in order.
func holds(t *testing.T, path string, want ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%s holds %q, want %q", filepath.Base(path), lines, want)
	}
	for i, l := range lines {
		if !strings.Contains(l, want[i]) {
			t.Errorf("line %d of %s is %q, want %q", i+1, filepath.Base(path), l, want[i])
		}
	}
}
