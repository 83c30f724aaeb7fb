package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/net/netutil"
)

// MaxPath is the longest path of a socket, in bytes: what the systems take that
// take the least.
const MaxPath = 103

var (
	// ErrPathTooLong is the error of Listen for a path of more than MaxPath.
	ErrPathTooLong = fmt.Errorf("the path of a socket has at most %d bytes", MaxPath)
	// ErrInUse is the error of Listen when another client answers there.
	ErrInUse = errors.New("another client answers there")
)

// lookTimeout bounds the look whether a socket that is there is alive.
const lookTimeout = time.Second

// Listen makes the socket at path, which only this user may connect to. One that
// a killed process has left is replaced; one at which somebody answers is
// ErrInUse, and anything else there refused. Closing the listener takes the
// socket away.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	l, err := listen(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return netutil.LimitListener(l, maxConns), nil
}

func listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > MaxPath {
		return nil, ErrPathTooLong
	}
	if err := makeRoom(ctx, path); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{Control: restrict}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, plain(err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // where restrict has no effect
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// makeRoom takes away a socket at which nobody answers.
func makeRoom(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular() || info.IsDir():
		return errors.New("there is something else: choose another path, or move it away")
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return ErrInUse
	case !nobody(err):
		return plain(err)
	}
	return os.Remove(path)
}

// plain is a network error without the address, which is known.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
