// Package storage owns the way between files and pieces: it verifies a file
// that is there, reserves the destination of a download, writes its pieces,
// hands out sections to send, and puts the whole file under its final name.
// It also owns the piece buffers.
//
// A download lives in "<name>.part" beside its destination, locked for one
// process. The final name appears in one step, once every piece is verified and
// on disk, and never takes the place of something that is there. Every name is
// looked up in the destination's folder, opened once, so that a folder that is
// moved or replaced meanwhile leads nowhere else.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// Progress is told how many of total bytes have been verified. Calls do not
// overlap; verifying waits for them. It may be nil.
type Progress = func(done, total int64)

// Mark tells one state of a file from another without reading it: a file whose
// mark is the recorded one is believed to hold what it held then.
type Mark struct {
	Size    int64 // bytes
	ModTime int64 // nanoseconds since 1970; of a folder a digest of all times and sizes
}

// File is one torrent's file, or folder: whole and read-only, or a download's
// .part. Its methods may be called concurrently, but for Close no more than
// once.
type File struct {
	t    *torrentfmt.Torrent
	path string // as the caller named it: what messages say
	body body
	dest *dest // nil for a seeded file: it is never renamed or removed
	// short is why a .part that was taken up has not all of its room, if so.
	short error

	// life is held shared while bytes are written or synced, and alone by what
	// ends the .part: Finish, Remove and Close wait for writes.
	life    sync.RWMutex
	renamed bool // guarded by life, as are the fields of dest

	// writing lets one piece be written at a time: the kernel lets no two into
	// one file either, and those who wait there keep a processor busy.
	writing sync.Mutex

	mu     sync.Mutex // guards the rest, and is never held over a system call
	have   *bitset.BitSet
	nhave  int
	whole  bool
	seal   Mark // what the whole file looked like when it was known to be right
	closed bool
}

func newFile(t *torrentfmt.Torrent, path string, b body, d *dest, have *bitset.BitSet, whole bool) *File {
	return &File{t: t, path: path, body: b, dest: d, have: have, nhave: int(have.Count()), whole: whole}
}

// Have is a copy of the set of pieces that are there and verified.
func (f *File) Have() *bitset.BitSet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have.Clone()
}

// Whole reports whether the file stands complete under its final name. A
// download that has every piece becomes whole by Finish.
func (f *File) Whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole
}

// has looks a piece up; it fails when the file is closed or i is no piece.
func (f *File) has(i int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false, fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	}
	if i < 0 || i >= f.t.NumPieces() {
		return false, &PieceError{Path: f.path, Piece: i, Err: fs.ErrInvalid}
	}
	return f.have.Test(uint(i)), nil
}

// WritePiece stores piece i, whose digest the caller has verified. data is the
// piece's full length. Pieces may be written concurrently; a piece that is
// there already is left alone. A full disk is a *FullError; the piece is then not
// counted as had and can be written again later.
func (f *File) WritePiece(i int, data []byte) error {
	f.life.RLock()
	defer f.life.RUnlock()
	there, err := f.has(i)
	if err != nil || there {
		return err
	}
	if want := f.t.PieceLen(i); len(data) != want {
		return &PieceError{Path: f.path, Piece: i, Err: fmt.Errorf("%d bytes: want %d: %w", len(data), want, fs.ErrInvalid)}
	}
	f.writing.Lock()
	_, err = f.body.WriteAt(data, int64(i)*torrentfmt.PieceSize)
	f.writing.Unlock()
	switch {
	case IsDiskFull(err):
		return f.dest.full(err)
	case err != nil:
		return fmt.Errorf("write piece %d: %w", i, err)
	}
	f.mu.Lock()
	if !f.have.Test(uint(i)) {
		f.have.Set(uint(i))
		f.nhave++
	}
	f.mu.Unlock()
	f.body.wrote(len(data))
	return nil
}

// Reserve allocates what a download still lacks of its room, beside writes. A
// disk that has not that much is a *FullError; Reserve may be called again.
func (f *File) Reserve(ctx context.Context) error {
	f.life.RLock()
	defer f.life.RUnlock()
	f.mu.Lock()
	closed, whole := f.closed, f.whole
	f.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	case whole || f.renamed:
		return nil
	}
	return f.dest.reserve(ctx, f.body)
}

// Short is a *FullError when Resume has found no room for the rest of the
// download, and nil otherwise. Reserve finds out whether there is now.
func (f *File) Short() error { return f.short }

// Section is piece i, to be read or sent: an unread reader, of a single file
// over the *os.File itself, so that a transport can use sendfile. A piece that is not there is a
// *PieceError with ErrNoPiece. Sections stay good while Finish renames.
//
// A piece of a file that was changed, cut, replaced or deleted since it was
// whole is read first: what is no longer the torrent's is ErrChanged, and no
// longer had from then on. All of a single file that is no longer under its
// name is lost at once.
//
// After Close, reading a section fails with fs.ErrClosed; a read under way ends
// first. That holds for the methods of os.File and its SyscallConn: whoever
// keeps the number that Fd returns loses that protection.
func (f *File) Section(i int) (*io.SectionReader, error) {
	there, err := f.has(i)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, &PieceError{Path: f.path, Piece: i, Err: ErrNoPiece}
	}
	if err := f.stillThere(i); err != nil {
		return nil, err
	}
	return f.body.section(int64(i)*torrentfmt.PieceSize, int64(f.t.PieceLen(i))), nil
}

func (f *File) stillThere(i int) error {
	if !f.Whole() {
		return nil // nobody else knows the .part
	}
	off, n := int64(i)*torrentfmt.PieceSize, f.t.PieceLen(i)
	same, err := f.body.intact(f.path, off, int64(n))
	if err == nil && !same {
		data := make([]byte, n)
		if _, err = f.body.ReadAt(data, off); err == nil && !f.t.PieceOK(i, data) {
			err = errors.New("other bytes stand there")
		}
	}
	if err == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have.Clear(uint(i))
	if _, single := f.body.(*fileBody); single && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrReplaced)) {
		f.have.ClearAll()
	}
	f.nhave = int(f.have.Count())
	changed := fmt.Errorf("%w: %w", ErrChanged, err)
	if errors.Is(err, fs.ErrNotExist) && f.have.None() {
		changed = plain.Say(changed, "the file is gone")
	}
	return &PieceError{Path: f.path, Piece: i, Err: changed}
}

// Mark is the mark to record: of a download the present one, of a whole file
// that of the moment when it was known to be right.
func (f *File) Mark() (Mark, error) {
	f.mu.Lock()
	whole, seal := f.whole, f.seal
	f.mu.Unlock()
	if whole {
		return seal, nil
	}
	return f.body.mark()
}

// Sync makes what was written durable, and the .part's name with it, and
// returns the mark to record with it. What is written during Sync may or may
// not be durable after it: Checkpoint tells which pieces are.
func (f *File) Sync() (Mark, error) {
	f.life.RLock()
	defer f.life.RUnlock()
	if !f.Whole() {
		if err := f.body.sync(); err != nil {
			return Mark{}, err
		}
		if err := f.dest.syncName(); err != nil {
			return Mark{}, err
		}
	}
	return f.Mark()
}

// Checkpoint is Sync with the set of pieces that it made durable: what a
// download's resume state records, together. Pieces that are written meanwhile
// are left out even if Have knows them by now.
func (f *File) Checkpoint() (*bitset.BitSet, Mark, error) {
	have := f.Have()
	mark, err := f.Sync()
	return have, mark, err
}

// Close waits for writes, frees the descriptors and the lock, and keeps what is
// on disk. It does not sync. Sections that are still in use fail from now on.
func (f *File) Close() error {
	f.life.Lock()
	defer f.life.Unlock()
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.mu.Unlock()
	if closed {
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	}
	err := f.body.Close()
	if f.dest != nil {
		err = errors.Join(err, f.dest.close())
	}
	return err
}
