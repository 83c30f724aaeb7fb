//go:build unix

package torrentfmt

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// No one writes to the FIFO: a test that waits for a writer never ends.
func TestAFIFOIsRefusedWithoutWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no FIFO here:", err)
	}
	wantNotRegular(t, path, "a FIFO")
	// The same for one that takes the place of a file after the first look.
	f, err := os.OpenFile(path, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

func TestADeviceIsRefused(t *testing.T) {
	wantNotRegular(t, "/dev/zero", "a device")
}

func TestASocketIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Skip("no unix socket here:", err)
	}
	defer func() { _ = l.Close() }()
	wantNotRegular(t, path, "a socket")
}
