package bench

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// copies writes as many copies of the file as there are downloaders, with what
// no download is spared: every piece read, hashed and written, every file
// synced. It tells how long that takes, as many at once as there are
// processors, and what CPU time; 0 where the system does not tell.
func (x *swarmBench) copies(ctx context.Context) (took, cpu time.Duration, err error) {
	dir, err := os.MkdirTemp(x.dir, "copies-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	before, _ := cpuOf(os.Getpid())
	began := time.Now()
	var work errgroup.Group
	for i := range x.Downloaders {
		work.Go(func() error { return x.oneCopy(ctx, filepath.Join(dir, fmt.Sprint(i))) })
	}
	err = work.Wait()
	took = time.Since(began)
	after, _ := cpuOf(os.Getpid())
	return took, after - before, err
}

func (x *swarmBench) oneCopy(ctx context.Context, path string) (err error) {
	from, err := os.Open(x.file)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // only read
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	buf := make([]byte, torrentfmt.PieceSize)
	for at := int64(0); at < x.Size; at += int64(len(buf)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data := buf[:min(int64(len(buf)), x.Size-at)]
		if _, err := from.ReadAt(data, at); err != nil {
			return err
		}
		_ = sha1.Sum(data)
		if _, err := to.WriteAt(data, at); err != nil {
			return err
		}
	}
	return to.Sync()
}
