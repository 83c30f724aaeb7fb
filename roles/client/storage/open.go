package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// Seed opens the whole file of t at path, through symbolic links, read-only.
// If trusted is the file's present mark it is believed; otherwise, or with nil,
// every piece is verified. A file that is not t's is a *MismatchError, one that
// is not regular torrentfmt.ErrNotRegular, one that changes while it is
// verified torrentfmt.ErrChanged.
func Seed(ctx context.Context, t *torrentfmt.Torrent, path string, trusted *Mark, progress Progress) (*File, error) {
	b, err := openSeed(t, path)
	if err != nil {
		return nil, err
	}
	f, err := seed(ctx, t, path, b, nil, trusted, progress)
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return f, nil
}

func openSeed(t *torrentfmt.Torrent, path string) (body, error) {
	if !t.Folder() {
		file, err := torrentfmt.OpenRegular(path)
		if err != nil {
			return nil, err
		}
		return &fileBody{File: file, size: t.Size}, nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return newFolderBody(t, root, os.O_RDONLY)
}

// seed verifies an open file as a whole; b and d stay the caller's on error.
func seed(ctx context.Context, t *torrentfmt.Torrent, path string, b body, d *dest, trusted *Mark, progress Progress) (*File, error) {
	mark, err := b.mark()
	if err != nil {
		return nil, err
	}
	pieces := t.NumPieces()
	if mark.Size != t.Size {
		return nil, &MismatchError{Path: path, Size: mark.Size, Want: t.Size, Bad: pieces, Pieces: pieces}
	}
	if trusted == nil || *trusted != mark {
		have, err := torrentfmt.Verify(ctx, t, b, progress)
		if err != nil {
			return nil, fmt.Errorf("%s: verify: %w", path, err)
		}
		if bad := pieces - int(have.Count()); bad > 0 {
			return nil, &MismatchError{Path: path, Size: mark.Size, Want: t.Size, Bad: bad, Pieces: pieces}
		}
		after, err := b.mark()
		if err != nil {
			return nil, err
		}
		if after != mark {
			return nil, fmt.Errorf("%s: %w", path, torrentfmt.ErrChanged)
		}
	}
	seen, err := b.remember()
	if err == nil && seen != mark {
		err = fmt.Errorf("%s: %w", path, torrentfmt.ErrChanged)
	}
	if err != nil {
		return nil, err
	}
	all := bitset.New(uint(pieces))
	all.FlipRange(0, uint(pieces))
	f := newFile(t, path, b, d, all, true)
	f.seal = seen
	return f, nil
}

// maxTurns bounds how often Create starts over because another process finished
// or removed the same destination between two of its steps.
const maxTurns = 8

// Create reserves the destination of a download. Its folder must exist.
//
// A regular file at path that is t's is adopted: returned whole, as by Seed.
// Anything else there is refused with an *OccupiedError, a file of another size
// without reading it; a symbolic link is refused wherever it leads.
//
// Otherwise "<path>.part" is made and all of its room allocated, or a disk that
// has not that much says so now (IsDiskFull). A .part that is there already is
// taken up when nobody is writing it: the pieces in it that are right are kept.
// One that holds something and not one right piece belongs to somebody else and
// is refused with an *OccupiedError.
//
// An empty torrent has every piece at once and still needs Finish.
func Create(ctx context.Context, t *torrentfmt.Torrent, path string, progress Progress) (f *File, adopted bool, err error) {
	d, err := openDest(path)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if f == nil {
			_ = d.close()
		}
	}()
	for range maxTurns {
		f, err = adopt(ctx, t, d, progress)
		if err == nil {
			return f, true, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			f, err = reserve(ctx, t, d, progress)
		}
		if !errors.Is(err, ErrReplaced) {
			return f, false, err
		}
	}
	return nil, false, &OccupiedError{Path: d.path(d.part), Why: "keeps changing: other clients use this destination", Err: err}
}

// adopt opens what stands under the final name, if it is t's file. Nothing
// there is fs.ErrNotExist, anything else in the way an *OccupiedError.
func adopt(ctx context.Context, t *torrentfmt.Torrent, d *dest, progress Progress) (*File, error) {
	b, err := d.open(t, d.name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	f, err := seed(ctx, t, d.path(d.name), b, d, nil, progress)
	if err != nil {
		_ = b.Close()
		if t.Folder() && errors.Is(err, fs.ErrNotExist) {
			return nil, &OccupiedError{Path: d.path(d.name), Why: fmt.Sprintf("is another folder (%v)", plain.Error(err)) + inTheWay}
		}
		var mismatch *MismatchError
		if errors.As(err, &mismatch) {
			why := fmt.Sprintf("is another file: %d of %d pieces differ from the torrent's", mismatch.Bad, mismatch.Pieces)
			if mismatch.Size != mismatch.Want {
				why = fmt.Sprintf("is another file: %d bytes long, the torrent's has %d", mismatch.Size, mismatch.Want)
			}
			return nil, &OccupiedError{Path: d.path(d.name), Why: why + inTheWay, Err: err}
		}
		return nil, err
	}
	// A crash between the two steps of a link and unlink leaves both names.
	if d.leadsTo(d.part, b) == nil {
		if err := d.root.Remove(d.part); err != nil {
			_ = b.Close()
			return nil, err
		}
	}
	return f, nil
}

// reserve makes or takes up the .part. ErrReplaced means: start over.
func reserve(ctx context.Context, t *torrentfmt.Torrent, d *dest, progress Progress) (*File, error) {
	made := true
	b, err := d.make(t)
	if errors.Is(err, fs.ErrExist) {
		made = false
		b, err = d.open(t, d.part, os.O_RDWR)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrReplaced
		}
	}
	if err != nil {
		return nil, d.named(err)
	}
	have, err := takePart(ctx, t, d, b, made, progress)
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return newFile(t, d.path(d.name), b, d, have, false), nil
}

// takePart locks an open .part, finds what is good in it and allocates the
// rest. One that was made just now is deleted again when that fails.
func takePart(ctx context.Context, t *torrentfmt.Torrent, d *dest, b body, made bool, progress Progress) (*bitset.BitSet, error) {
	if err := d.lock(b); err != nil {
		return nil, err
	}
	// Between opening and locking, its last owner may have finished it.
	_, err := d.root.Lstat(d.name)
	finished := err == nil
	switch {
	case d.leadsTo(d.part, b) != nil:
		return nil, ErrReplaced
	case finished && made:
		return nil, errors.Join(ErrReplaced, b.remove(d.root, d.part))
	case finished:
		return nil, ErrReplaced
	}
	have := bitset.New(uint(t.NumPieces()))
	if !made {
		if err := b.distinct(); err != nil {
			return nil, err
		}
		var foreign bool
		have, foreign, err = verifyPart(ctx, t, d, b, progress)
		if err != nil {
			return nil, err
		}
		if foreign {
			return nil, &OccupiedError{Path: d.path(d.part), Why: "holds nothing of this torrent" + inTheWay}
		}
	}
	if err := d.reserve(ctx, b); err != nil {
		if made {
			err = errors.Join(err, b.remove(d.root, d.part))
		}
		return nil, err
	}
	return have, nil
}

// verifyPart finds the good pieces of a .part. foreign means that it holds
// bytes, and not one good piece.
func verifyPart(ctx context.Context, t *torrentfmt.Torrent, d *dest, b body, progress Progress) (have *bitset.BitSet, foreign bool, err error) {
	// Of a folder some files may not have been made yet.
	mark, err := b.mark()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	if mark.Size > t.Size {
		return nil, false, &OccupiedError{Path: d.path(d.part), Why: fmt.Sprintf("is %d bytes long, the torrent's file only %d", mark.Size, t.Size) + inTheWay}
	}
	r := &partReader{body: b}
	have, err = torrentfmt.Verify(ctx, t, r, progress)
	if err != nil {
		return nil, false, fmt.Errorf("%s: verify: %w", d.path(d.part), err)
	}
	return have, have.None() && r.touched.Load(), nil
}

// Resume takes up the .part of path that an earlier process left. If mark is
// its present mark, have is believed; otherwise, or with a have that is nil or
// of another length, all pieces are verified anew. have is not kept.
//
// Without a .part, a file of t under the final name is returned whole: the
// earlier process was stopped after its last step. Else the error is
// fs.ErrNotExist. Other errors are as for Create, but for a disk that has no room
// for the rest: what is there can be seeded, and Short tells of it.
func Resume(ctx context.Context, t *torrentfmt.Torrent, path string, have *bitset.BitSet, mark *Mark, progress Progress) (f *File, err error) {
	d, err := openDest(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if f == nil {
			_ = d.close()
		}
	}()
	b, err := d.open(t, d.part, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		file, adoptErr := adopt(ctx, t, d, progress)
		if errors.Is(adoptErr, ErrOccupied) {
			return nil, fmt.Errorf("%w, and %w", err, adoptErr)
		}
		if adoptErr != nil {
			return nil, adoptErr
		}
		// The earlier process may not have come to this.
		if err := syncFolder(d.root); err != nil {
			_ = file.body.Close()
			return nil, err
		}
		return file, nil
	}
	if err != nil {
		return nil, err
	}
	got, err := resumePart(ctx, t, d, b, have, mark, progress)
	var full *FullError
	if err != nil && !errors.As(err, &full) {
		_ = b.Close()
		return nil, err
	}
	f = newFile(t, d.path(d.name), b, d, got, false)
	if full != nil {
		f.short = full
	}
	return f, nil
}

// resumePart returns the good pieces even with a *FullError.
func resumePart(ctx context.Context, t *torrentfmt.Torrent, d *dest, b body, have *bitset.BitSet, mark *Mark, progress Progress) (*bitset.BitSet, error) {
	if err := d.lock(b); err != nil {
		return nil, err
	}
	if err := d.leadsTo(d.part, b); err != nil {
		return nil, err
	}
	if err := b.distinct(); err != nil {
		return nil, err
	}
	now, err := b.mark()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && mark != nil && *mark == now && now.Size == t.Size && have != nil && have.Len() == uint(t.NumPieces()) {
		return have.Clone(), nil
	}
	got, _, err := verifyPart(ctx, t, d, b, progress)
	if err != nil {
		return nil, err
	}
	return got, d.reserve(ctx, b)
}
