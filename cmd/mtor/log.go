package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/mtor-dev/mtor/config"
)

// logMode lets everybody on the machine read a log, as logs usually are.
const logMode = 0o644

// logFile is a log that is appended to, and opened anew on SIGHUP so that it
// can be rotated from outside.
type logFile struct {
	path string // empty for stderr, which is never reopened

	mu  sync.Mutex
	out *os.File
}

// openLog opens the file at path, or stderr for [config.LogStderr].
func openLog(path string) (*logFile, error) {
	if path == config.LogStderr {
		return &logFile{out: os.Stderr}, nil
	}
	// The working directory may change; the file may not.
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	f := &logFile{path: abs}
	if f.out, err = appendTo(abs); err != nil {
		return nil, err
	}
	return f, nil
}

func appendTo(path string) (*os.File, error) {
	out, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, logMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("log file: the folder %s does not exist: make it first", filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return out, nil
}

// Write appends to the file that is open at the moment.
func (f *logFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

// reopen goes on with whatever stands at the path now. On an error the old file
// stays.
func (f *logFile) reopen() error {
	if f.path == "" {
		return nil
	}
	out, err := appendTo(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	old := f.out
	f.out = out
	f.mu.Unlock()
	return old.Close()
}

// Close closes the file; stderr stays open.
func (f *logFile) Close() error {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Close()
}

// obeyHUP reopens f at each SIGHUP until stop is called, which waits. A SIGHUP
// that comes because the terminal closed is another matter: the program ends,
// as whatever runs on a terminal does.
func (f *logFile) obeyHUP(log *slog.Logger) (stop func()) {
	attended := onTerminal()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-signals:
			case <-over:
				return
			}
			if attended && !onTerminal() {
				log.Info("the terminal was closed; ending")
				terminateSelf(log)
				continue
			}
			if err := f.reopen(); err != nil {
				log.Error("log file not reopened", "error", err)
				continue
			}
			log.Info("log file reopened")
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-ended
	}
}

// onTerminal reports whether the program's input is a terminal. One that has
// closed is none any more.
func onTerminal() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// terminateSelf has the program end as on a SIGTERM, with its deadline.
func terminateSelf(log *slog.Logger) {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		log.Error("cannot end after the terminal was closed", "err", err)
	}
}

// startLog opens the log of a role. stop ends it.
func startLog(path, level string) (log *slog.Logger, stop func(), err error) {
	least, err := config.Level(level)
	if err != nil {
		return nil, nil, err
	}
	f, err := openLog(path)
	if err != nil {
		return nil, nil, err
	}
	log = newLogger(f, least)
	unwatch := f.obeyHUP(log)
	return log, func() {
		unwatch()
		_ = f.Close() // each line was written as it came; there is nothing to flush
	}, nil
}

func newLogger(w io.Writer, least slog.Leveler) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: least}))
}
