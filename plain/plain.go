// Package plain says errors of the operating system in words for people: what is
// the matter with which file and what to do, without the names of system calls.
package plain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// said is an error in other words.
type said struct {
	text string
	err  error
}

func (e *said) Error() string { return e.text }
func (e *said) Unwrap() error { return e.err }

// Say is err in the words of format; it has err as its cause, and does not
// repeat it.
func Say(err error, format string, args ...any) error {
	return &said{fmt.Sprintf(format, args...), err}
}

// Error is err with plain words for what the operating system says somewhere in
// it. It is still what it was to errors.Is and errors.As; nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	say(&text, err)
	if text == err.Error() {
		return err
	}
	return &said{text, err}
}

// say puts plain words into text for err, whose own are part of it, or for its
// causes.
func say(text *string, err error) {
	put := func(words string) { *text = strings.ReplaceAll(*text, err.Error(), words) }
	switch e := err.(type) { //nolint:errorlint // one after the other, whatever they wrap
	case *said:
	case *fs.PathError:
		put(e.Path + ": " + cause(e.Err))
	case *os.LinkError:
		put(e.New + ": " + cause(e.Err))
	case *os.SyscallError:
		put(cause(e.Err))
	case syscall.Errno:
		put(cause(e))
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			say(text, next)
		}
	case interface{ Unwrap() []error }:
		for _, next := range e.Unwrap() {
			say(text, next)
		}
	}
}

// causes are the words for what is often the matter. The first that fits counts.
var causes = []struct {
	is    error
	words string
}{
	{fs.ErrNotExist, "there is no such file or folder"},
	{fs.ErrPermission, "permission denied: it must be open to the user that runs mtor"},
	{syscall.EROFS, "the file system is read-only"},
	{syscall.ENOTDIR, "a file stands where the path needs a folder"},
	{syscall.ENAMETOOLONG, "the name is too long for this file system"},
	{syscall.ELOOP, "too many symbolic links"},
	{syscall.ENOSPC, "no room is left on the disk"},
	{syscall.EDQUOT, "the quota of the disk is used up"},
	{syscall.EIO, "the disk cannot be read or written (input/output error)"},
	{syscall.EMFILE, "too many files are open: raise the limit (ulimit -n)"},
	{syscall.ENFILE, "too many files are open on this machine"},
}

func cause(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.is) {
			return c.words
		}
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err.Error()
	}
	return err.Error()
}
