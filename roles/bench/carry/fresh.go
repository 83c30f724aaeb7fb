package carry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// bareBuffers is how many pieces bare TCP may hold before they are written.
const bareBuffers = 16

// Bare fetches the file of a [Server] over bare TCP, each time into a fresh
// file that is made durable: the limit for a whole download.
type Bare struct {
	c    *control
	f    *fetcher
	Size int64 // of the file
}

// NewBare connects to the server at addr. Close must follow.
func NewBare(ctx context.Context, addr string) (*Bare, error) {
	c, w, err := callServer(ctx, addr)
	if err != nil {
		return nil, err
	}
	f := newFetcher(c, w, nil, &sink{digests: w.Digests})
	f.buffers = storage.NewBuffers(sized(bareBuffers))
	return &Bare{c: c, f: f, Size: w.Size}, nil
}

// Close hangs up.
func (b *Bare) Close() { _ = b.c.conn.Close() } // nothing of it is left to be lost

// Fetch fetches the file as path, which must not exist, and returns how long it
// took and what CPU time both processes used. As a download does, it writes
// under another name, syncs, renames and syncs the folder, all of which counts.
func (b *Bare) Fetch(ctx context.Context, path string) (took, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	runtime.GC() // what the last round left is not this one's
	there, err := b.c.cpu()
	if err != nil {
		return 0, 0, err
	}
	here, began := cpuTime(), time.Now()
	if err := b.fresh(ctx, path); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	cpu = cpuTime() - here
	after, err := b.c.cpu()
	return took, cpu + after - there, err
}

func (b *Bare) fresh(ctx context.Context, path string) (err error) {
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f := *b.f
	f.sink = &sink{file: file, digests: b.f.sink.digests}
	err = f.overBareTCP(ctx, way{scheme: tcp.Scheme, bare: true}, &clock{began: time.Now()})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if runtime.GOOS == "windows" {
		return nil // its folders cannot be synced
	}
	return dir.Sync()
}
