package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/roles/client/torrent"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// announceWait is how long share waits for a tracker's word before it answers
// with a warning.
const announceWait = 3 * time.Second

// Share implements control.API.
func (c *Client) Share(ctx context.Context, path, mtorrent string, progress func(done, total int64)) (_ control.Download, err error) {
	defer func() { err = plain.Error(err) }()
	path, mtorrent, err = control.Absolute(path, mtorrent)
	if err != nil {
		return control.Download{}, err
	}
	if err := control.CheckMtorrent(mtorrent); err != nil {
		return control.Download{}, fmt.Errorf("share: %w", err)
	}
	// Better to hear it now than after an hour of hashing.
	if info, err := os.Stat(filepath.Dir(mtorrent)); err != nil || !info.IsDir() {
		return control.Download{}, fmt.Errorf("share: there is no folder %s for the .mtorrent: make it first", filepath.Dir(mtorrent))
	}
	t, mark, leftOut, err := hashed(ctx, path, [2]string{c.o.Trackers[0], c.o.Trackers[1]}, progress)
	if err != nil {
		return control.Download{}, fmt.Errorf("share: %w", err)
	}
	id := t.ID()
	if known := c.known(mtorrent, id); known != nil {
		return c.shareAgain(known, t, id, path, mtorrent)
	}
	reused, err := torrentfmt.WriteFile(mtorrent, t)
	if err != nil {
		return control.Download{}, fmt.Errorf("share: %w", err)
	}
	undo := func(err error) (control.Download, error) {
		if !reused {
			err = errors.Join(err, os.Remove(mtorrent))
		}
		return control.Download{}, fmt.Errorf("share: %w", err)
	}
	// The mark is older than the hashes: a file that has changed since then is
	// verified anew.
	file, err := storage.Seed(ctx, t, path, &mark, nil)
	if err != nil {
		return undo(err)
	}
	it, err := c.add(library.Entry{
		Mtorrent: mtorrent, Path: path, Name: t.Name, ID: id, Whole: true, Size: mark.Size, ModTime: mark.ModTime,
	}, t, file)
	if err != nil {
		return undo(errors.Join(err, file.Close()))
	}
	wait, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	d := c.describe(it)
	var notes []string
	if err := it.group.Announced(wait, id); err != nil {
		notes = append(notes, "not announced yet, will be later: "+err.Error())
	}
	if leftOut.n > 0 {
		notes = append(notes, leftOut.String())
	}
	d.Note = strings.Join(notes, "; ")
	return d, nil
}

// hashed makes the torrent of a file or a folder. Its mark is older than the
// hashes.
func hashed(ctx context.Context, path string, trackers [2]string, progress func(done, total int64)) (*torrentfmt.Torrent, storage.Mark, skipped, error) {
	var out skipped
	info, err := os.Stat(path)
	if err != nil {
		return nil, storage.Mark{}, out, err
	}
	if info.IsDir() {
		t, files, err := torrentfmt.CreateFolder(ctx, path, trackers, progress, out.add)
		return t, storage.FolderMark(files), out, err
	}
	t, err := torrentfmt.Create(ctx, path, trackers, progress)
	return t, storage.Mark{Size: info.Size(), ModTime: info.ModTime().UnixNano()}, out, err
}

// skipped is what a shared folder holds that cannot be shared.
type skipped struct {
	n     int
	first string
}

func (s *skipped) add(path, what string) {
	if s.n++; s.n == 1 {
		s.first = fmt.Sprintf("%s is %s", path, what)
	}
}

func (s *skipped) String() string {
	if s.n == 1 {
		return "left out: " + s.first
	}
	return fmt.Sprintf("%d left out: %s, and %d more", s.n, s.first, s.n-1)
}

// shareAgain answers for a file that the library knows: it is shared already,
// unless something about it is not what it was.
func (c *Client) shareAgain(it *item, t *torrentfmt.Torrent, id torrentfmt.ID, path, mtorrent string) (control.Download, error) {
	d := c.describe(it)
	running := d.State != control.Failed && d.State != control.Missing
	if it.entry.ID != id || d.Path != path || d.Mtorrent != mtorrent || !running {
		return d, fmt.Errorf("share: %s is in the library as %s (%s): use that, or remove it first", d.Path, d.Mtorrent, d.State)
	}
	// Its .mtorrent may have been deleted meanwhile.
	if _, err := torrentfmt.WriteFile(mtorrent, t); err != nil {
		return d, fmt.Errorf("share: %w", err)
	}
	return d, nil
}

// Get implements control.API.
func (c *Client) Get(ctx context.Context, mtorrent, dest string) (_ control.Download, err error) {
	defer func() { err = plain.Error(err) }()
	path, mtorrent, err := control.Absolute(dest, mtorrent)
	if err != nil {
		return control.Download{}, err
	}
	t, err := torrentfmt.Open(mtorrent)
	if err != nil {
		return control.Download{}, fmt.Errorf("get: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, t.Name)
	} else if strings.HasSuffix(dest, string(filepath.Separator)) {
		return control.Download{}, fmt.Errorf("get: there is no folder %s: make it first", path)
	}
	id := t.ID()
	if known := c.known(mtorrent, id); known != nil {
		return c.getAgain(ctx, known, t, id, path)
	}
	file, adopted, err := storage.Create(ctx, t, path, nil)
	if err != nil {
		return control.Download{}, fmt.Errorf("get: %w", err)
	}
	entry := library.Entry{Mtorrent: mtorrent, Path: path, Name: t.Name, ID: id}
	if adopted {
		mark, err := file.Sync()
		if err != nil {
			return control.Download{}, errors.Join(fmt.Errorf("get: %w", err), file.Close())
		}
		entry.Whole, entry.Size, entry.ModTime = true, mark.Size, mark.ModTime
	}
	it, err := c.add(entry, t, file)
	if err != nil {
		if !adopted && file.Have().None() {
			err = errors.Join(err, file.Remove())
		}
		return control.Download{}, errors.Join(fmt.Errorf("get: %w", err), file.Close())
	}
	return c.describe(it), nil
}

// getAgain answers for a torrent that the library knows: one that has failed
// or was missing is tried again, onto the same path; one that waits for room
// looks for it now.
func (c *Client) getAgain(ctx context.Context, it *item, t *torrentfmt.Torrent, id torrentfmt.ID, path string) (control.Download, error) {
	d := c.describe(it)
	if it.entry.ID != id || d.Path != path {
		return d, fmt.Errorf("get: it is in the library as %s, at %s (%s): remove that first", d.Mtorrent, d.Path, d.State)
	}
	switch d.State {
	case control.Checking:
		d.Name, d.Size = t.Name, t.Size
		return d, nil
	case control.Downloading, control.Seeding, control.Paused:
		return d, nil
	}
	if d.State == control.NoRoom {
		if err := c.lookForRoom(ctx, it); err != nil {
			return c.describe(it), fmt.Errorf("get: %w", err)
		}
		return c.describe(it), nil
	}
	ctx, done, err := it.claim(ctx)
	if err != nil {
		return d, fmt.Errorf("get: %w", err)
	}
	defer done()
	if c.runs(it) { // another was faster
		return c.describe(it), nil
	}
	it.end() // it may still hold the lock of its .part
	file, _, err := storage.Create(ctx, t, path, nil)
	if storage.IsDiskFull(err) { // what is there is seeded until there is room
		file, err = storage.Resume(ctx, t, path, nil, nil, nil)
	}
	if err != nil {
		it.lose(err)
		return d, fmt.Errorf("get: %w", err)
	}
	c.mu.Lock()
	if !c.hasLocked(it) || c.ctx.Err() != nil {
		c.mu.Unlock()
		return d, errors.Join(errors.New("get: it was removed meanwhile, or the client quits"), file.Close())
	}
	it.entry.Paused = false // one that was paused and is missing
	c.start(it, t, file)
	c.mu.Unlock()
	it.save()
	return c.describe(it), nil
}

// Downloads implements control.API.
func (c *Client) Downloads(context.Context) ([]control.Download, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]control.Download, 0, len(c.items))
	for _, it := range c.items {
		list = append(list, it.download())
	}
	return list, nil
}

// Remove implements control.API.
func (c *Client) Remove(ctx context.Context, name string) (_ control.Removed, err error) {
	defer func() { err = plain.Error(err) }()
	it, err := c.find(name)
	if err != nil {
		return control.Removed{}, fmt.Errorf("remove: %w", err)
	}
	left, err := c.drop(ctx, it)
	if err != nil {
		return left, fmt.Errorf("remove: %w", err)
	}
	if err := os.Remove(it.entry.Mtorrent); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return left, fmt.Errorf("remove: it is out of the library, but its .mtorrent stays: %w", err)
	}
	return left, nil
}

// drop takes an item out of the library, ends it, and takes it off the
// trackers. What it has on the disk stays.
func (c *Client) drop(ctx context.Context, it *item) (control.Removed, error) {
	if err := c.lib.Delete(it.entry.Mtorrent); err != nil {
		return control.Removed{}, err
	}
	c.mu.Lock()
	c.items = slices.DeleteFunc(c.items, func(x *item) bool { return x == it })
	if c.running[it.entry.ID] == it {
		delete(c.running, it.entry.ID)
	}
	c.mu.Unlock()
	defer c.notify()
	defer it.seize()()
	it.end()
	it.discard()
	c.launchNext()
	if it.group == nil {
		return it.left(), nil // it was never announced
	}
	if err := it.group.Remove(ctx, it.entry.ID); err != nil {
		c.log.Warn("not taken off the tracker yet, will be later", "name", it.name, "error", err)
	}
	return it.left(), nil
}

// Wait implements control.API.
func (c *Client) Wait(ctx context.Context, timeout time.Duration) ([]control.Download, error) {
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	watched := make(map[*item]bool)
	for over := false; ; {
		c.mu.Lock()
		var list []control.Download
		running := c.hooks.Busy()
		for _, it := range c.items {
			d := it.download()
			switch d.State {
			case control.Downloading, control.NoRoom:
				running, watched[it] = true, true
			case control.Checking:
				running, watched[it] = running || !it.entry.Whole, watched[it] || !it.entry.Whole
			case control.Seeding:
				running = running || it.run != nil && !it.settled
			case control.Failed:
				watched[it] = true
			case control.Missing:
				watched[it] = watched[it] || !it.entry.Whole
			}
			if watched[it] {
				list = append(list, d)
			}
		}
		changed := c.changed
		c.mu.Unlock()
		switch {
		case !running:
			return list, nil
		case over:
			return list, control.ErrUnfinished
		}
		select {
		case <-changed:
		case <-expired:
			over = true // with the list as it is by now
		case <-ctx.Done():
			return list, ctx.Err()
		case <-c.ctx.Done():
			return list, errors.New("wait: the client quits")
		}
	}
}

// add puts a new torrent into the library and starts it.
func (c *Client) add(e library.Entry, t *torrentfmt.Torrent, file *storage.File) (*item, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, errors.New("the client quits")
	}
	if it := c.knownLocked(e.Mtorrent, e.ID); it != nil {
		return nil, fmt.Errorf("it is in the library as %s", it.entry.Mtorrent)
	}
	if err := c.lib.Add(&e); err != nil {
		return nil, err
	}
	it := newItem(c, e)
	c.items = append(c.items, it)
	c.start(it, t, file)
	return it, nil
}

// known finds an item by its .mtorrent or by its torrent.
func (c *Client) known(mtorrent string, id torrentfmt.ID) *item {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.knownLocked(mtorrent, id)
}

func (c *Client) knownLocked(mtorrent string, id torrentfmt.ID) *item {
	for _, it := range c.items {
		if it.entry.Mtorrent == mtorrent || it.entry.ID == id {
			return it
		}
	}
	return nil
}

// byTorrent finds a running torrent.
func (c *Client) byTorrent(id torrentfmt.ID) *torrent.Torrent {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.running[id]; it != nil {
		return it.run
	}
	return nil
}

// find looks an item up by one of its names.
func (c *Client) find(name string) (*item, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return control.Find(c.items, (*item).named, name)
}

func (c *Client) describe(it *item) control.Download {
	c.mu.Lock()
	defer c.mu.Unlock()
	return it.download()
}
