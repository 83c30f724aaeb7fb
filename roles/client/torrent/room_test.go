package torrent

import (
	"context"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// tight is a file on a disk that has room for so many more pieces.
type tight struct {
	File
	room  atomic.Int64
	looks atomic.Int64
	err   error // of Reserve, instead of a full disk
}

var errNoRoom = &storage.FullError{Path: "x.part", Lacks: 1000, Err: syscall.ENOSPC}

func (f *tight) over(file File) File {
	f.File = file
	return f
}

func (f *tight) WritePiece(i int, data []byte) error {
	if f.room.Add(-1) < 0 {
		return errNoRoom
	}
	return f.File.WritePiece(i, data)
}

func (f *tight) Reserve(context.Context) error {
	f.looks.Add(1)
	switch {
	case f.err != nil:
		return f.err
	case f.room.Load() <= 0:
		return errNoRoom
	}
	return nil
}

func awaitPaused(t *testing.T, n *node) {
	t.Helper()
	deadline := time.After(patience)
	for n.tor.Status().Paused == nil {
		select {
		case <-deadline:
			t.Fatalf("not paused: %+v", n.tor.Status())
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAFullDiskPausesADownloadThatSeedsWhatItHasAndGoesOnByItself(t *testing.T) {
	c, tr := newContent(t, 12*torrentfmt.PieceSize), transporttest.Memory()
	seeder := newNode(t, tr, 1, c, all(c)...)
	disk := &tight{}
	disk.room.Store(5)
	paused := newNodeOver(t, tr, 2, c, disk.over, nil)
	paused.join(seeder, c.id)
	awaitPaused(t, paused)
	if st := paused.tor.Status(); st.Err != nil || st.Whole || st.Done > 5*torrentfmt.PieceSize {
		t.Errorf("status %+v", st)
	}

	// Somebody who knows only it gets all that it has.
	third := newNode(t, tr, 3, c)
	third.join(paused, c.id)
	has := paused.tor.Snapshot().Count()
	deadline := time.After(patience)
	for third.tor.Snapshot().Count() < has {
		select {
		case <-deadline:
			t.Fatalf("a paused download gave %d of its %d pieces", third.tor.Snapshot().Count(), has)
		case <-time.After(time.Millisecond):
		}
	}
	disk.room.Store(100)
	paused.awaitWhole(c)
	third.awaitWhole(c)
	if st := paused.tor.Status(); st.Paused != nil || disk.looks.Load() == 0 {
		t.Errorf("after %d looks for room: %+v", disk.looks.Load(), st)
	}
}

func TestAPausedDownloadLooksForRoomWhenItIsAskedTo(t *testing.T) {
	c, tr := newContent(t, 4*torrentfmt.PieceSize), transporttest.Memory()
	disk := &tight{}
	paused := newNodeOver(t, tr, 2, c, disk.over, errNoRoom)
	awaitPaused(t, paused)
	if err := paused.tor.GoOn(t.Context()); !storage.IsDiskFull(err) {
		t.Errorf("on a full disk: %v", err)
	}
	disk.room.Store(100)
	if err := paused.tor.GoOn(t.Context()); err != nil {
		t.Error(err)
	}
	if st := paused.tor.Status(); st.Paused != nil || st.Err != nil {
		t.Errorf("with room: %+v", st)
	}
	seeder := newNode(t, tr, 1, c, all(c)...)
	paused.join(seeder, c.id)
	paused.awaitWhole(c)
}

func TestADiskThatBreaksWhileADownloadIsPausedStopsIt(t *testing.T) {
	c, tr := newContent(t, 4*torrentfmt.PieceSize), transporttest.Memory()
	disk := &tight{err: fs.ErrPermission}
	paused := newNodeOver(t, tr, 2, c, disk.over, errNoRoom)
	if err := paused.tor.GoOn(t.Context()); err == nil {
		t.Error("it goes on")
	}
	if st := paused.tor.Status(); st.Err == nil {
		t.Errorf("status %+v", st)
	}
}
