package torrentfmt

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/bits-and-blooms/bitset"
	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/plain"
)

// ErrChanged is the cause when a file did not stay the same while it was
// hashed.
var ErrChanged = errors.New("the file changed while it was hashed")

// Create makes the torrent of the regular file at path, through symbolic
// links; its filename is path's last component. It reads the file once, with
// all cores, and holds one piece a core in memory.
//
// progress, if not nil, is told the bytes that are done out of total after
// each piece: by one goroutine at a time, done growing up to total. Hashing
// waits for it. An empty file has no piece, hence no progress.
//
// Besides the errors of package os there are ErrNotRegular, ErrChanged, the
// context's error, and a *FieldError where a name, a tracker or the size may
// not stand in a .mtorrent.
func Create(ctx context.Context, path string, trackers [2]string, progress func(done, total int64)) (*Torrent, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from: nothing can be lost
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	t := &Torrent{Trackers: trackers, Name: filepath.Base(path), Size: before.Size()}
	if err := t.checkNew(path); err != nil {
		return nil, err
	}
	err = t.hash(ctx, f, progress)
	if err == nil {
		err = unchanged(f, path, before)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	return t, nil
}

// checkNew refuses what cannot be shared of the file or folder at path, and makes
// room for the hash string.
func (t *Torrent) checkNew(path string) error {
	err := checkSize(t.Size)
	if err == nil {
		t.Hashes = make([]byte, HashSize*t.NumPieces())
		err = t.Check()
	}
	var refused *FieldError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Field {
	case fieldName:
		return plain.Say(err, "%s: its name %s: rename it first", path, refused.Problem)
	case fieldFiles:
		return plain.Say(err, "%s: %s: rename or move that first, or share an archive", path, refused.Problem)
	case fieldSize:
		return plain.Say(err, "%s: %s", path, refused.Problem)
	}
	return err
}

// hash fills the hash string in, which has room already.
func (t *Torrent) hash(ctx context.Context, r io.ReaderAt, progress func(done, total int64)) error {
	return digests(ctx, r, t.Size, progress, func(i int, sum []byte) error {
		if sum == nil {
			return ErrChanged
		}
		copy(t.PieceHash(i), sum)
		return nil
	})
}

// unchanged holds the file, and what path leads to, against what it was.
func unchanged(f *os.File, path string, before fs.FileInfo) error {
	after, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err != nil {
		return err
	}
	if after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, there) {
		return ErrChanged
	}
	// Files of /proc say that they are empty and are not.
	if n, err := f.ReadAt(make([]byte, 1), before.Size()); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: longer than the %d bytes it claims", ErrChanged, before.Size())
	}
	return nil
}

// Verify reads the pieces of t from r with all cores. Bit i of the result is
// set exactly when piece i is there and has the right digest; pieces past the
// end of r are missing, bytes past the end of t are not looked at. Progress is
// as for Create, and counts pieces that are missing, too. An error of r other
// than io.EOF ends it.
func Verify(ctx context.Context, t *Torrent, r io.ReaderAt, progress func(done, total int64)) (*bitset.BitSet, error) {
	if err := checkSize(t.Size); err != nil {
		return nil, err
	}
	if err := checkHashes(t.Size, len(t.Hashes)); err != nil {
		return nil, err
	}
	have := bitset.New(uint(t.NumPieces()))
	err := digests(ctx, r, t.Size, progress, func(i int, sum []byte) error {
		have.SetTo(uint(i), string(sum) == string(t.PieceHash(i)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return have, nil
}

// digests reads the pieces of the first size bytes of r, each once and roughly
// in order, and calls visit with each one's digest, nil where r ends before the
// piece does. Calls of visit and progress never overlap.
func digests(ctx context.Context, r io.ReaderAt, size int64, progress func(done, total int64), visit func(i int, sum []byte) error) error {
	var (
		pieces = NumPieces(size)
		next   atomic.Int64
		mu     sync.Mutex
		done   int64
	)
	g, ctx := errgroup.WithContext(ctx)
	work := func() error {
		buf := pieceBuffer()
		for {
			i := int(next.Add(1) - 1)
			if i >= pieces {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			piece := buf[:PieceLen(size, i)]
			n, err := r.ReadAt(piece, int64(i)*PieceSize)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			var sum []byte
			if n == len(piece) {
				s := sha1.Sum(piece)
				sum = s[:]
			}
			mu.Lock()
			err = visit(i, sum)
			done += int64(len(piece))
			if progress != nil {
				progress(done, size)
			}
			mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), pieces) {
		g.Go(work)
	}
	return g.Wait()
}

// pieceBuffer starts on a page boundary, into which the kernel copies fastest:
// Go's allocator places objects over 32 KiB on pages of their own.
func pieceBuffer() []byte { return make([]byte, PieceSize) }
