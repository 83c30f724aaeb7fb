package client

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/storage/disktest"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// refused has a client get a torrent onto a destination that it must refuse, and
// returns why. Nobody is dialled for it, neither a tracker nor a peer.
func refused(t *testing.T, dest func(dir string) string) string {
	t.Helper()
	dir := t.TempDir()
	network := transporttest.Memory()
	var dials atomic.Int64
	dial := network.Dial
	network.Dial = func(ctx context.Context, addr string) (transport.Session, error) {
		dials.Add(1)
		return dial(ctx, addr)
	}
	c, end := start(t, network, filepath.Join(dir, "state"))
	file := filepath.Join(dir, "file")
	makeFile(t, file, 1000)
	x, err := torrentfmt.Create(t.Context(), file, [2]string{"127.0.0.1:1", "127.0.0.1:2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mtorrent := filepath.Join(dir, "x.mtorrent")
	if _, err := torrentfmt.WriteFile(mtorrent, x); err != nil {
		t.Fatal(err)
	}
	path := dest(dir)
	_, err = c.Get(t.Context(), mtorrent, path)
	if err == nil {
		t.Fatalf("get to %s is not refused", path)
	}
	if list, _ := c.Downloads(t.Context()); len(list) > 0 {
		t.Errorf("the library has %+v", list)
	}
	if _, ok := c.Local(x.ID()); ok {
		t.Error("it is offered to peers")
	}
	end() // a dial that is under way counts, too
	if n := dials.Load(); n > 0 {
		t.Errorf("%d dials for a destination that is refused", n)
	}

	// The count counts: to a good one the trackers are dialled.
	c, end = start(t, network, filepath.Join(dir, "state"))
	get(t, c, mtorrent, filepath.Join(dir, "copy"))
	eventually(t, "a tracker to be dialled", func() bool { return dials.Load() > 0 })
	end()
	return err.Error()
}

func TestAMissingDestinationIsRefusedBeforeAnythingIsDialled(t *testing.T) {
	for _, c := range []struct{ dest, want string }{
		{"no/copy", "/no: make it first"},
		{"no/", "/no: make it first"},
		{"file/copy", "/file is a file, not a folder"},
	} {
		got := refused(t, func(dir string) string { return dir + "/" + c.dest })
		if !strings.HasPrefix(got, "get: ") || !strings.Contains(got, c.want) {
			t.Errorf("says %q, want %q", got, c.want)
		}
	}
}

func TestAFolderThatMayNotBeWrittenIsRefusedBeforeAnythingIsDialled(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	got := refused(t, func(dir string) string {
		locked := filepath.Join(dir, "locked")
		if err := os.Mkdir(locked, 0o500); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(locked, "copy")
	})
	if !strings.Contains(got, "permission denied") {
		t.Errorf("says %q", got)
	}
}

func TestAReadOnlyDiskIsRefusedBeforeAnythingIsDialled(t *testing.T) {
	disk := disktest.Mount(t, "3m")
	if disk == "" {
		return
	}
	disktest.ReadOnly(t, disk)
	got := refused(t, func(string) string { return filepath.Join(disk, "copy") })
	if !strings.Contains(got, "read-only") {
		t.Errorf("says %q", got)
	}
}
