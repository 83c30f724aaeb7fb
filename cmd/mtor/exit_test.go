package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestExitCodeSaysHowItEnded(t *testing.T) {
	boom := errors.New("boom: it broke")
	by := func(sig os.Signal) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(&interrupted{sig})
		return ctx
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		code int
		said string
	}{
		"done":                       {t.Context(), nil, 0, ""},
		"failed":                     {t.Context(), boom, 1, "error: boom: it broke\n"},
		"usage":                      {t.Context(), usageError(boom), 2, "error: boom: it broke\n"},
		"wrapped usage":              {t.Context(), fmt.Errorf("x: %w", usageError(boom)), 2, "error: boom: it broke\n"},
		"told already":               {t.Context(), &exitError{code: 1}, 1, ""},
		"two lines":                  {t.Context(), errors.Join(boom, boom), 1, "error: boom: it broke; boom: it broke\n"},
		"text that steers terminals": {t.Context(), errors.New("a\x1b]0;b\a\u202ec\x9bd é"), 1, `error: a\x1b]0;b\a\u202ec\x9bd é` + "\n"},
		"served until SIGTERM":       {by(syscall.SIGTERM), nil, 0, ""},
		"served until SIGINT":        {by(syscall.SIGINT), nil, 130, ""},
		"work cut short by SIGTERM":  {by(syscall.SIGTERM), fmt.Errorf("hash: %w", context.Canceled), 130, ""},
		"work cut short by SIGINT":   {by(syscall.SIGINT), context.Cause(by(syscall.SIGINT)), 130, ""},
		"failed while it stopped":    {by(syscall.SIGTERM), boom, 1, "error: boom: it broke\n"},
		"interrupted, then failed":   {by(syscall.SIGINT), boom, 130, "error: boom: it broke\n"},
		"cancelled by no signal":     {t.Context(), context.Canceled, 1, "error: context canceled\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			if code := report(c.ctx, &said, c.err); code != c.code || said.String() != c.said {
				t.Errorf("code %d, said %q: want %d, %q", code, said.String(), c.code, c.said)
			}
		})
	}
}

func TestFirstSignalStopsItsEchoDoesNothingAndTheSecondForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals, over := make(chan os.Signal, 2), make(chan struct{})
		signals <- syscall.SIGTERM
		ctx, cancel := context.WithCancelCause(t.Context())
		type outcome struct {
			code int
			err  error
		}
		ended := make(chan outcome, 1)
		go func() {
			code, err := awaitSignals(signals, over, cancel)
			ended <- outcome{code, err}
		}()
		<-ctx.Done()
		var signal *interrupted
		if cause := context.Cause(ctx); !errors.As(cause, &signal) || signal.sig != syscall.SIGTERM || !errors.Is(cause, context.Canceled) {
			t.Errorf("the cause is %v", cause)
		}
		signals <- syscall.SIGTERM // to the process group, as timeout(1) does
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatalf("the echo ended it: %+v", <-ended)
		}
		time.Sleep(echoTime) //nolint:forbidigo // virtual time
		signals <- syscall.SIGINT
		if got := <-ended; got.code != exitInterrupted || got.err == nil {
			t.Errorf("after the second signal: %+v", got)
		}
	})
}

func TestStoppingHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGINT
		_, cancel := context.WithCancelCause(t.Context())
		begun := time.Now()
		code, err := awaitSignals(signals, make(chan struct{}), cancel)
		if took := time.Since(begun); code != exitFailed || err == nil || took != graceTime {
			t.Errorf("code %d, %v, after %v", code, err, took)
		}
	})
}

func TestCommandThatEndsInTimeIsNotForced(t *testing.T) {
	for name, first := range map[string][]os.Signal{"no signal": nil, "one signal": {syscall.SIGINT}} {
		t.Run(name, func(t *testing.T) {
			signals, over := make(chan os.Signal, 1), make(chan struct{})
			for _, s := range first {
				signals <- s
			}
			_, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := awaitSignals(signals, over, cancel)
				ended <- err
			}()
			close(over)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
