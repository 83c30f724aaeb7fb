package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Finish makes a download that has every piece durable and gives it its final
// name, in one step that never takes the place of something that appeared there
// meanwhile: that is an *OccupiedError, the .part stays, and Finish may be
// called again. Missing pieces are ErrIncomplete, a .part that somebody moved,
// deleted, replaced or resized ErrReplaced. Finish of a whole file does nothing.
func (f *File) Finish() error {
	f.life.Lock()
	defer f.life.Unlock()
	f.mu.Lock()
	closed, whole, missing := f.closed, f.whole, f.t.NumPieces()-f.nhave
	f.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	case whole:
		return nil
	case missing > 0:
		return fmt.Errorf("%s: %d of %d: %w", f.path, missing, f.t.NumPieces(), ErrIncomplete)
	}
	d := f.dest
	if !f.renamed {
		if err := f.publish(); err != nil {
			return err
		}
		f.renamed = true
	}
	if err := syncFolder(d.root); err != nil {
		return fmt.Errorf("%s: sync the folder: %w", f.path, err)
	}
	seal, err := f.body.remember()
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.whole, f.seal = true, seal
	f.mu.Unlock()
	return nil
}

// publish syncs the .part and renames it.
func (f *File) publish() error {
	d := f.dest
	mark, err := f.Mark()
	if err != nil {
		return err
	}
	if mark.Size != f.t.Size {
		return fmt.Errorf("%s: %d bytes long, was %d: %w", d.path(d.part), mark.Size, f.t.Size, ErrReplaced)
	}
	if err := f.body.sync(); err != nil {
		return err
	}
	if err := d.leadsTo(d.part, f.body); err != nil {
		return err
	}
	err = renameNoReplace(d.root, d.part, d.name)
	switch {
	case errors.Is(err, fs.ErrExist):
		if d.leadsTo(d.name, f.body) == nil {
			// Linked by an earlier process that was stopped before it unlinked.
			return d.root.Remove(d.part)
		}
		return &OccupiedError{Path: d.path(d.name), Why: "appeared while it was downloaded; the download is kept as " + d.part, Err: err}
	case err != nil:
		return fmt.Errorf("rename %s to %s: %w", d.path(d.part), d.name, err)
	}
	return nil
}

// renameByLink gives a file a second name, which fails when that is taken, and
// takes away the first. Where links are unknown it looks before it renames: of
// all systems, only there is a moment in which another process could lose a
// file that it creates under this very name.
func renameByLink(root *os.Root, from, to string) error {
	err := root.Link(from, to)
	if err == nil {
		if err = root.Remove(from); errors.Is(err, fs.ErrNotExist) {
			err = nil // a client that adopts the file tidies up, too
		}
		return err
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, statErr := root.Lstat(to); statErr == nil {
		return fs.ErrExist
	} else if !errors.Is(statErr, fs.ErrNotExist) {
		return statErr
	}
	return root.Rename(from, to)
}

// Remove deletes an unfinished download's .part; Close is still to be called.
// A file that is whole is never deleted: ErrFinished. A .part that is no longer
// ours is left alone: ErrReplaced.
func (f *File) Remove() error {
	f.life.Lock()
	defer f.life.Unlock()
	f.mu.Lock()
	closed, whole := f.closed, f.whole
	f.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	case whole || f.renamed:
		return fmt.Errorf("%s: %w", f.path, ErrFinished)
	}
	d := f.dest
	if err := d.leadsTo(d.part, f.body); err != nil {
		return err
	}
	return f.body.remove(d.root, d.part)
}
