package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/mtor-dev/mtor/plain"
)

// The exit codes, as the help gives them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 and the number of SIGINT, as shells have it
)

// exitHelp ends the help of every command.
const exitHelp = `Exit codes: 0 ok, 1 failed, 2 wrong usage or settings, 130 interrupted.`

// exitError ends the program with a code of its own. A nil err means that the
// user has been told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError marks what the user can mend on the command line or in the
// settings.
func usageError(err error) error { return &exitError{code: exitUsage, err: err} }

// report prints a command's error, once and on one line, and returns the exit
// code. An interruption that a command passes on is no news to the user.
func report(ctx context.Context, stderr io.Writer, err error) int {
	var signal *interrupted
	bySignal := errors.As(context.Cause(ctx), &signal)

	code := exitOK
	var exit *exitError
	switch {
	case bySignal && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &exit):
		code, err = exit.code, exit.err
	case err != nil:
		code = exitFailed
	}
	if err != nil {
		printError(stderr, err)
	}
	if bySignal && signal.sig == syscall.SIGINT {
		return exitInterrupted
	}
	return code
}

// printError writes an error on one line. Names and answers of strangers are
// within it, so that what would steer a terminal or turn the text is written out.
func printError(w io.Writer, err error) {
	text := strings.Join(strings.FieldsFunc(plain.Error(err).Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	_, _ = fmt.Fprintf(w, "error: %s\n", visible(text)) // nowhere is left to say that stderr is gone
}
