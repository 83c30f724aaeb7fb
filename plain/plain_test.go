package plain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestErrorsNameTheFileAndNoSystemCall(t *testing.T) {
	path := func(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	for want, err := range map[string]error{
		"get: /a/x: there is no such file or folder":                        fmt.Errorf("get: %w", path("openat", "/a/x", syscall.ENOENT)),
		"/a/x: the file system is read-only":                                path("mkdirat", "/a/x", syscall.EROFS),
		"/a/x: the name is too long for this file system":                   path("statat", "/a/x", syscall.ENAMETOOLONG),
		"/b: permission denied: it must be open to the user that runs mtor": &os.LinkError{Op: "renameat", Old: "/a", New: "/b", Err: syscall.EACCES},
		"write /a: there is no such file or folder":                         fmt.Errorf("write /a: %w", syscall.ENOENT),
		"fsync: broken pipe":                                                fmt.Errorf("fsync: %w", os.NewSyscallError("fsync", syscall.EPIPE)),
		"/a: the disk cannot be read or written (input/output error); /b: too many symbolic links": fmt.Errorf("%w; %w",
			path("read", "/a", syscall.EIO), path("stat", "/b", syscall.ELOOP)),
		"of mtor's own":  errors.New("of mtor's own"),
		"in other words": Say(path("open", "/a", syscall.ENOENT), "in %s words", "other"),
	} {
		got := Error(err)
		if got.Error() != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if !errors.Is(got, err) {
			t.Errorf("%q is no longer %v", got, err)
		}
		if again := Error(got); again.Error() != want {
			t.Errorf("said twice: %q", again)
		}
	}
	if Error(nil) != nil {
		t.Error("no error becomes one")
	}
}

func TestWhatTheSystemSaysOfARealFileIsPlain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "missing")
	_, err := os.Open(name)
	got := Error(fmt.Errorf("share: %w", err))
	if want := "share: " + name + ": there is no such file or folder"; got.Error() != want || !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("got %q, want %q", got, want)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err = root.Open(strings.Repeat("n", 300)); err == nil || strings.Contains(Error(err).Error(), "openat") {
		t.Errorf("got %q", Error(err))
	}
}
