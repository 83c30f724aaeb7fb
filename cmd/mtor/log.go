package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/mtor-dev/mtor/config"
)

// logMode lets everybody on the machine read a log, as logs usually are.
const logMode = 0o644

// roleLog is the log of a running role.
type roleLog struct {
	*slog.Logger
	level slog.LevelVar
	file  *logFile
	// reload, if set, is called at each SIGHUP, by one goroutine.
	reload atomic.Pointer[func()]
	stop   func()
}

// startLog opens the log of a role. close must follow.
func startLog(c config.Log) (*roleLog, error) {
	l := new(roleLog)
	if err := l.setLevel(c.Level); err != nil {
		return nil, err
	}
	var err error
	if l.file, err = openLog(c); err != nil {
		return nil, err
	}
	l.Logger = newLogger(l.file, c.Format, &l.level)
	l.stop = l.obeyHUP()
	return l, nil
}

func (l *roleLog) setLevel(name string) error {
	least, err := config.Level(name)
	if err == nil {
		l.level.Set(least)
	}
	return err
}

// reopen goes on with whatever stands at the log file's path now.
func (l *roleLog) reopen() {
	switch err := l.file.reopen(); {
	case err != nil:
		l.Error("log file not reopened", "error", err)
	case l.file.path != "":
		l.Info("log file reopened")
	}
}

func (l *roleLog) close() {
	l.stop()
	_ = l.file.Close() // each line was written as it came; there is nothing to flush
}

func newLogger(w io.Writer, format string, least slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: least, ReplaceAttr: inWords}
	if format == config.LogJSON {
		o.ReplaceAttr = asInText
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// asInText has JSON hold what the text form shows of values that have a text: a
// duration with its unit, an ID in hex digits rather than a list of numbers.
func asInText(groups []string, a slog.Attr) slog.Attr {
	a = inWords(groups, a)
	if v, ok := a.Value.Any().(fmt.Stringer); ok && a.Value.Kind() != slog.KindTime {
		return slog.String(a.Key, fmt.Sprint(v))
	}
	return a
}

// logFile is a log that is appended to. Before it grows beyond its bound it
// becomes <path>.1, what was that <path>.2, and so on, and a new one begins. On
// SIGHUP it is opened anew, so that it can be rotated from outside too.
type logFile struct {
	path string // empty for stderr, which is never reopened
	max  int64  // bytes; 0: no bound
	keep int    // old files

	mu   sync.Mutex
	out  *os.File
	size int64
	to   io.Writer // if not nil, what lines go to in place of out
}

// divert has lines go to w until restore is called: stderr may be a terminal that
// somebody draws on.
func (f *logFile) divert(w io.Writer) (restore func()) {
	set := func(w io.Writer) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.to = w
	}
	set(w)
	return func() { set(nil) }
}

// openLog opens the file at the path, or stderr for [config.LogStderr].
func openLog(c config.Log) (*logFile, error) {
	if c.File == config.LogStderr {
		return &logFile{out: os.Stderr}, nil
	}
	// The working directory may change; the file may not.
	abs, err := filepath.Abs(c.File)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	f := &logFile{path: abs, max: int64(c.MaxMiB) << 20, keep: c.Keep}
	if f.out, f.size, err = appendTo(abs); err != nil {
		return nil, err
	}
	return f, nil
}

// appendTo opens a file; its size is that of a regular one, or 0.
func appendTo(path string) (out *os.File, size int64, err error) {
	out, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, logMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("log file: the folder %s does not exist: make it first", filepath.Dir(path))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("log file: %w", err)
	}
	if info, err := out.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return out, size, nil
}

// Write appends a line to the file that is open at the moment.
func (f *logFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.to != nil {
		return f.to.Write(p)
	}
	if f.max > 0 && f.size > 0 && f.size+int64(len(p)) > f.max {
		f.rotate()
	}
	n, err := f.out.Write(p)
	f.size += int64(n)
	return n, err
}

// rotate begins a new file. What stands in the way, a pipe at the path for
// instance, leaves the log going on where it was for another max bytes. f.mu is
// held.
func (f *logFile) rotate() {
	f.size = 0
	if info, err := os.Lstat(f.path); err != nil || !info.Mode().IsRegular() {
		return
	}
	old := func(i int) string { return f.path + "." + strconv.Itoa(i) }
	for i := f.keep - 1; i > 0; i-- {
		_ = os.Rename(old(i), old(i+1)) // there may be fewer
	}
	f.shut() // an open file cannot be renamed everywhere
	_ = os.Rename(f.path, old(1))
	out, _, err := appendTo(f.path)
	if err != nil {
		out = os.Stderr // better there than nowhere
	}
	f.out = out
}

// shut closes the open file, unless it is stderr. f.mu is held.
func (f *logFile) shut() {
	if f.out != os.Stderr {
		_ = f.out.Close() // written and not synced: it has nothing to tell
	}
}

// reopen goes on with whatever stands at the path now. On an error the old file
// stays.
func (f *logFile) reopen() error {
	if f.path == "" {
		return nil
	}
	out, size, err := appendTo(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut()
	f.out, f.size = out, size
	return nil
}

// Close closes the file; stderr stays open.
func (f *logFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut()
	return nil
}
