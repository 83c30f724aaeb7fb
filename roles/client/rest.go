package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/torrentfmt"
)

var errOvertaken = errors.New("it was removed or changed meanwhile, or the client quits")

// claim gives the caller alone the right to end the item and to start it anew,
// until done. What it does for that ends with the context that is returned: with
// ctx, with the client, or when another seizes the item.
func (it *item) claim(ctx context.Context) (claimed context.Context, done func(), err error) {
	select {
	case it.claimed <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	claimed, abort := context.WithCancel(ctx)
	unwatch := context.AfterFunc(it.c.ctx, abort)
	it.c.mu.Lock()
	defer it.c.mu.Unlock()
	it.abort = abort
	if it.urgent > 0 {
		abort()
	}
	return claimed, func() {
		unwatch()
		abort()
		<-it.claimed
	}, nil
}

// seize is claim for what goes before all else.
func (it *item) seize() (done func()) {
	it.c.mu.Lock()
	it.urgent++
	if it.abort != nil {
		it.abort()
	}
	it.c.mu.Unlock()
	it.claimed <- struct{}{}
	it.c.mu.Lock()
	it.urgent--
	it.c.mu.Unlock()
	return func() { <-it.claimed }
}

// Pause implements control.API.
func (c *Client) Pause(ctx context.Context, name string) (control.Download, error) {
	it, err := c.find(name)
	if err == nil {
		err = c.pause(ctx, it)
	}
	if err != nil {
		return control.Download{}, fmt.Errorf("pause: %w", plain.Error(err))
	}
	return c.describe(it), nil
}

func (c *Client) pause(ctx context.Context, it *item) error {
	defer it.seize()()
	c.mu.Lock()
	if !c.hasLocked(it) || c.ctx.Err() != nil {
		c.mu.Unlock()
		return errOvertaken
	}
	if it.entry.Paused && !it.missing {
		c.mu.Unlock()
		return nil
	}
	it.entry.Paused, it.missing = true, false
	// Recorded before the rest: a client that is killed comes back paused.
	err := c.lib.Update(it.entry)
	c.mu.Unlock()
	it.rest()
	c.log.Info("paused", "name", it.name)
	c.launchNext()
	c.notify()
	if it.group != nil {
		if err := it.group.Remove(ctx, it.entry.ID); err != nil {
			c.log.Warn("not taken off the tracker yet, will be later", "name", it.name, "error", err)
		}
	}
	if err != nil {
		err = fmt.Errorf("it is, but only until the client ends: %w", err)
	}
	return err
}

// rest ends a claimed item and forgets what ran.
func (it *item) rest() {
	it.c.mu.Lock()
	queued := it.queued
	it.c.mu.Unlock()
	if queued {
		it.save()
	}
	it.end()
	it.c.mu.Lock()
	defer it.c.mu.Unlock()
	it.entry.Sent = it.sentAll()
	it.run, it.file, it.stop = nil, nil, nil
}

// Resume implements control.API.
func (c *Client) Resume(ctx context.Context, name string) (control.Download, error) {
	it, err := c.find(name)
	if err == nil {
		err = c.resume(ctx, it)
	}
	if err != nil {
		return control.Download{}, fmt.Errorf("resume: %w", plain.Error(err))
	}
	return c.describe(it), nil
}

func (c *Client) resume(ctx context.Context, it *item) error {
	if c.runs(it) { // or is being checked, which need not be waited for
		if c.describe(it).State == control.NoRoom {
			return c.lookForRoom(ctx, it)
		}
		return nil
	}
	ctx, done, err := it.claim(ctx)
	if err != nil {
		return err
	}
	defer done()
	if c.runs(it) {
		return nil
	}
	paused := c.describe(it).State == control.Paused
	it.rest() // one that has failed may still hold the lock of its .part
	t, err := it.torrentOf()
	var file *storage.File
	if err == nil {
		file, err = it.open(ctx, t)
	}
	if err != nil {
		if !paused && ctx.Err() == nil {
			it.lose(err)
		}
		return err
	}
	return c.begin(it, t, file, func(e *library.Entry) {
		e.Paused = false
		if it.seededEnough() {
			e.SeedRatio, e.SeedTime = 0, 0
		}
	})
}

// runs reports whether an item downloads or seeds, or is to as soon as its file
// has been checked.
func (c *Client) runs(it *item) bool {
	state := c.describe(it).State
	return state == control.Checking || state == control.Downloading || state == control.NoRoom || state == control.Seeding
}

// lookForRoom has a download that waits for room look whether there is some.
func (c *Client) lookForRoom(ctx context.Context, it *item) error {
	c.mu.Lock()
	run := it.run
	c.mu.Unlock()
	if run == nil {
		return errOvertaken
	}
	return run.GoOn(ctx)
}

// begin changes what the library says of a claimed item, and starts it over its
// open file; one that is paused after the change stays so.
func (c *Client) begin(it *item, t *torrentfmt.Torrent, file *storage.File, change func(*library.Entry)) error {
	have, mark, err := file.Checkpoint()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	c.mu.Lock()
	if !c.hasLocked(it) || c.ctx.Err() != nil {
		c.mu.Unlock()
		return errors.Join(errOvertaken, file.Close())
	}
	e := it.entry
	change(&e)
	e.Whole, e.Have, e.Size, e.ModTime = file.Whole(), have, mark.Size, mark.ModTime
	if e.Whole {
		e.Have = nil
	}
	if err := c.lib.Update(e); err != nil {
		c.mu.Unlock()
		return errors.Join(err, file.Close())
	}
	it.entry = e
	if !e.Paused {
		c.start(it, t, file)
		c.mu.Unlock()
		return nil
	}
	it.name, it.size, it.note, it.missing = t.Name, t.Size, "", false
	c.mu.Unlock()
	return file.Close()
}

// Relocate implements control.API.
func (c *Client) Relocate(ctx context.Context, name, path string, progress func(done, total int64)) (control.Download, error) {
	it, err := c.find(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		err = c.relocate(ctx, it, path, progress)
	}
	if err != nil {
		return control.Download{}, fmt.Errorf("relocate: %w", plain.Error(err))
	}
	return c.describe(it), nil
}

func (c *Client) relocate(ctx context.Context, it *item, path string, progress func(done, total int64)) error {
	ctx, done, err := it.claim(ctx)
	if err != nil {
		return err
	}
	defer done()
	t, err := it.torrentOf()
	if err != nil {
		return err
	}
	path = within(path, t)
	c.mu.Lock()
	was := it.download()
	whole, had := it.entry.Whole, it.entry.Have
	if it.file != nil {
		whole, had = it.file.Whole(), it.file.Have()
	}
	c.mu.Unlock()
	if path == was.Path && c.runs(it) {
		return nil
	}
	var file *storage.File
	if whole {
		file, err = storage.Seed(ctx, t, path, nil, progress)
		if err != nil {
			return err // what runs has run on
		}
		it.rest()
	} else {
		it.rest() // its .part may be the same file, moved, and is locked
		file, err = takeUp(ctx, t, path, had, progress)
	}
	if err == nil {
		err = c.begin(it, t, file, func(e *library.Entry) { e.Path = path })
	}
	if err == nil {
		c.log.Info("relocated", "name", t.Name, "from", was.Path, "to", path)
		return nil
	}
	if was.State != control.Paused && was.State != control.Missing {
		err = errors.Join(err, c.restart(it, t))
	}
	return err
}

// within is where a user means a torrent's file to be: path, or the one of its
// name in the folder path.
func within(path string, t *torrentfmt.Torrent) string {
	inside := filepath.Join(path, t.Name)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if in, err := os.Stat(inside); !t.Folder() || err == nil && in.IsDir() {
			return inside
		}
		if _, err := os.Stat(storage.PartPath(inside)); err == nil {
			return inside
		}
	}
	return path
}

// takeUp opens the unfinished download of path, which must have what was had of
// it elsewhere.
func takeUp(ctx context.Context, t *torrentfmt.Torrent, path string, had *bitset.BitSet, progress func(done, total int64)) (*storage.File, error) {
	file, err := storage.Resume(ctx, t, path, nil, nil, progress)
	if err != nil || had == nil {
		return file, err
	}
	if lacks := had.Difference(file.Have()).Count(); lacks > 0 {
		return nil, errors.Join(
			fmt.Errorf("%s lacks %d of the %d pieces that the download has", storage.PartPath(path), lacks, had.Count()),
			file.Close())
	}
	return file, nil
}

// restart goes on with a claimed item where it was before a relocation that
// failed.
func (c *Client) restart(it *item, t *torrentfmt.Torrent) error {
	file, err := it.open(c.ctx, t)
	if err == nil {
		err = c.begin(it, t, file, func(*library.Entry) {})
	}
	if err != nil {
		it.lose(err)
		return fmt.Errorf("and it cannot go on where it was: %w", err)
	}
	return nil
}

// discard deletes the .part of a claimed download that is at rest and that
// nothing has come for: it holds nothing but room.
func (it *item) discard() {
	if it.file != nil || it.entry.Whole || it.entry.Have == nil || it.entry.Have.Any() {
		return
	}
	t, err := it.torrentOf()
	if err != nil {
		return // nor is it known what would be deleted
	}
	file, err := it.open(it.c.ctx, t)
	if err != nil {
		return
	}
	mark, err := file.Mark()
	untouched := err == nil && mark == storage.Mark{Size: it.entry.Size, ModTime: it.entry.ModTime}
	if untouched && !file.Whole() && file.Have().None() {
		err = file.Remove()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		it.c.log.Warn("the room of a removed download is not free", "path", it.entry.Path, "error", err)
	}
}
