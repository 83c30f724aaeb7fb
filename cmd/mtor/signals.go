package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// graceTime is how long a command may take to stop after the first signal:
// longer than the longest goodbye (a client's to its trackers), shorter than
// what service managers wait before they kill (systemd: 90 s, docker: 10 s and
// more).
const graceTime = 10 * time.Second

// echoTime is how close to the first a second signal counts as the same one:
// timeout(1) and shells send one to the process and one to its group.
const echoTime = 100 * time.Millisecond

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig os.Signal }

func (e *interrupted) Error() string { return e.sig.String() }

// Is makes a signal match context.Canceled: to a role it is an ordinary end of
// its context.
func (e *interrupted) Is(target error) bool { return target == context.Canceled }

// watchSignals returns a context that the first SIGINT or SIGTERM ends, with an
// [*interrupted] as cause. A second one, or the end of graceTime, ends the
// process. stop gives the signals back.
func watchSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	over := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if code, err := awaitSignals(signals, over, cancel); err != nil {
			printError(os.Stderr, err)
			os.Exit(code)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		<-ended
		cancel(nil)
	}
}

// awaitSignals passes the first signal to cancel and returns with an error when
// the process must not go on; nil when over is closed.
func awaitSignals(signals <-chan os.Signal, over <-chan struct{}, cancel context.CancelCauseFunc) (code int, err error) {
	select {
	case sig := <-signals:
		cancel(&interrupted{sig})
	case <-over:
		return 0, nil
	}
	first := time.Now()
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	for {
		select {
		case <-signals:
			if time.Since(first) >= echoTime {
				return exitInterrupted, errors.New("mtor: stopped at once by a second signal")
			}
		case <-grace.C:
			return exitFailed, fmt.Errorf("mtor: did not stop within %v of the signal", graceTime)
		case <-over:
			return 0, nil
		}
	}
}

// surviveClosedOutput lets a write to a closed stdout or stderr fail instead of
// ending the process: a role goes on when whoever read its output is gone.
func surviveClosedOutput() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}
