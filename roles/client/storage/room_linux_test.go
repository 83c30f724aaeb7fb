package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/storage/disktest"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// blocks is how many bytes of the disk a file has.
func blocks(t *testing.T, file *os.File) int64 {
	t.Helper()
	info, err := file.Stat()
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func emptyFile(t *testing.T) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	t.Cleanup(func() { file.Close() })
	if err := allocate(file, 0, 1); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system cannot allocate ahead")
	}
	must(t, file.Truncate(0))
	return file
}

func TestFileThatIsSlowToAllocateGetsItsSizeAtOnceAndItsRoomAheadOfTheWriting(t *testing.T) {
	const size = 5*torrentfmt.PieceSize + 1
	file := emptyFile(t)
	var r room
	must(t, r.reserve(t.Context(), file, size, 0))
	info, err := file.Stat()
	must(t, err)
	if got := blocks(t, file); info.Size() != size || got >= size {
		t.Fatalf("%d bytes, %d allocated", info.Size(), got)
	}
	for step := int64(1); step <= 4; step++ {
		r.ahead(file, 2*torrentfmt.PieceSize)
		if got, want := blocks(t, file), min(step*2*torrentfmt.PieceSize, size); got < want {
			t.Errorf("step %d: %d bytes are allocated, want %d", step, got, want)
		}
	}
	if r.next != size {
		t.Errorf("allocated up to %d", r.next)
	}
}

func TestPatientReservationTakesAllOfTheRoom(t *testing.T) {
	const size = allocStep + torrentfmt.PieceSize
	file := emptyFile(t)
	var r room
	must(t, r.reserve(t.Context(), file, size, forever))
	if got := blocks(t, file); got < size {
		t.Errorf("%d bytes of %d are allocated", got, size)
	}
}

func TestReservationEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := emptyFile(t)
	wantErr(t, new(room).reserve(ctx, file, allocStep, forever), context.Canceled)
}

func TestDiskThatFillsUpMeanwhileEndsTheAllocationAndTellsAtTheWrite(t *testing.T) {
	dir := disktest.Mount(t, "3m")
	if dir == "" {
		return
	}
	data, tor := content(4*torrentfmt.PieceSize, 1)
	path := filepath.Join(dir, "file")
	file, err := os.Create(PartPath(path))
	must(t, err)
	b := &fileBody{File: file, size: tor.Size}
	t.Cleanup(func() { b.Close() })
	must(t, b.room.reserve(t.Context(), file, tor.Size, 0))
	write(t, filepath.Join(dir, "ballast"), make([]byte, 2<<20))
	var failed error
	for i := range tor.NumPieces() {
		if _, err := b.WriteAt(pieceOf(tor, data, i), int64(i)*torrentfmt.PieceSize); err != nil {
			failed = err
			break
		}
	}
	if !IsDiskFull(failed) || b.room.next != b.room.end {
		t.Errorf("got %v, allocating at %d of %d", failed, b.room.next, b.room.end)
	}
}

func TestDiskIsToldOnceForEachBatchThatManyWrite(t *testing.T) {
	var d dirt
	var told atomic.Int64
	var writers sync.WaitGroup
	const each, batches = torrentfmt.PieceSize, 4
	for range 8 {
		writers.Go(func() {
			for range batches * writeBackEvery / each / 8 {
				if d.add(each) {
					told.Add(1)
				}
			}
		})
	}
	writers.Wait()
	if n := told.Load(); n < 1 || n > batches {
		t.Errorf("told %d times for %d batches", n, batches)
	}
	if left := d.bytes.Load(); told.Load()*writeBackEvery+left > batches*writeBackEvery || left >= writeBackEvery {
		t.Errorf("%d bytes are left over", left)
	}
}
