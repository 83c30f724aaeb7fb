package storage

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// allocStep is how much is allocated in one system call: between two, a
	// download can be cancelled.
	allocStep = 64 << 20
	// reserveTime is how long a download waits for the allocation of its file
	// before it begins. Most disks allocate any file within it. Where a
	// file lives in memory, to allocate is half the work of writing it; the rest
	// is then done beside the receiving.
	reserveTime = 50 * time.Millisecond
	// aheadFactor is how many times what is written is then allocated, so that
	// the allocation ends early in the download.
	aheadFactor = 4
	// writeBackEvery is how many bytes are written before the disk is told to
	// begin with them, so that the Sync at the end finds little left. So many
	// are written in the order in which they lie in the file, which spares
	// disks that turn.
	writeBackEvery = 64 << 20
)

// forever is a patience that does not end.
const forever = time.Duration(math.MaxInt64)

// room is the part of a file that has its size but not its blocks yet.
type room struct {
	mu        sync.Mutex
	next, end int64
}

// reserve gives the file its size, and its blocks as far as they come within
// patience. File systems that cannot allocate give the size alone.
func (r *room) reserve(ctx context.Context, file *os.File, size int64, patience time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := file.Truncate(size); err != nil {
		return err
	}
	r.next, r.end = 0, size
	for began := time.Now(); r.next < r.end && time.Since(began) < patience; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.step(file, allocStep); err != nil {
			return err
		}
	}
	return nil
}

// ahead allocates about n bytes more, unless somebody is at it. A disk that is
// full by now tells at the write.
func (r *room) ahead(file *os.File, n int64) {
	if !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	if r.next < r.end && r.step(file, n) != nil {
		r.next = r.end
	}
}

func (r *room) step(file *os.File, n int64) error {
	n = min(n, r.end-r.next)
	err := allocate(file, r.next, n)
	if errors.Is(err, errors.ErrUnsupported) {
		r.next, err = r.end, nil
	}
	r.next += n
	return err
}

// dirt counts what was written and not yet given to the disk.
type dirt struct {
	bytes atomic.Int64
}

// add counts n bytes, and reports whether they are enough for the disk to begin
// with: to one caller for all that was counted until then.
func (d *dirt) add(n int) bool {
	return d.bytes.Add(int64(n)) >= writeBackEvery && d.bytes.Swap(0) >= writeBackEvery
}
