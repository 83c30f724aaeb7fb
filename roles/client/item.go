package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/roles/client/torrent"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// item is one torrent of the library: its entry and, once its file is open,
// its running torrent. Guarded by Client.mu, but for the running torrent
// itself.
type item struct {
	c     *Client
	entry library.Entry
	name  string // filename in the .mtorrent
	size  int64
	note  string // what keeps it from running
	// missing: its file or .mtorrent is gone or changed.
	missing   bool
	queued    bool       // waits until fewer downloads run
	settled   bool       // what follows from being whole has been done
	uploads   *pace.Gate // of this torrent
	downloads *pace.Gate

	torrent *torrentfmt.Torrent // nil unless its file is open
	run     *torrent.Torrent    // nil unless its file is open
	group   *announce.Group
	file    *storage.File
	stop    context.CancelFunc
	over    sync.WaitGroup // until run has returned and its file is closed
	sent    int64          // bytes that had been sent when run was made

	claimed chan struct{}      // holds a value while a request ends it, or starts it anew
	abort   context.CancelFunc // of the request that has or had it; nil before the first
	urgent  int                // requests that wait for it and go before all else
}

func newItem(c *Client, e library.Entry) *item {
	return &item{
		c: c, entry: e, name: cmp.Or(e.Name, filepath.Base(e.Path)), size: e.Size, note: "waits to be checked",
		uploads: pace.NewGate(0), downloads: pace.NewFreeGate(0), claimed: make(chan struct{}, 1),
	}
}

// named are its names; Client.mu is held.
func (it *item) named() control.Named {
	return control.Named{ID: it.entry.ID.String(), Name: it.name, Mtorrent: it.entry.Mtorrent}
}

// load brings back an item that the library knew at start.
func (it *item) load() {
	c := it.c
	ctx, done, err := it.claim(c.ctx)
	if err != nil {
		return
	}
	defer done()
	c.mu.Lock()
	waits := c.hasLocked(it) && it.run == nil && !it.missing // nobody was faster
	c.mu.Unlock()
	if !waits {
		return
	}
	t, err := it.torrentOf()
	if err != nil {
		it.lose(err)
		return
	}
	c.mu.Lock()
	it.name, it.size, it.note = t.Name, t.Size, "is being checked"
	it.entry.Name = t.Name // an older mtor has not recorded it
	paused := it.entry.Paused
	c.mu.Unlock()
	if paused {
		return
	}
	file, err := it.open(ctx, t)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ctx.Err() != nil || !c.hasLocked(it): // nothing may start behind leave, nor under who has seized it
		if err == nil {
			_ = file.Close()
		}
	case err != nil:
		it.loseLocked(err)
	default:
		c.start(it, t, file)
	}
}

// torrentOf reads its .mtorrent.
func (it *item) torrentOf() (*torrentfmt.Torrent, error) {
	t, err := torrentfmt.Open(it.entry.Mtorrent)
	if err == nil && t.ID() != it.entry.ID {
		err = fmt.Errorf("%s now describes another file", it.entry.Mtorrent)
	}
	return t, err
}

// open opens its file, and checks it if it is not what the library recorded.
func (it *item) open(ctx context.Context, t *torrentfmt.Torrent) (*storage.File, error) {
	it.c.mu.Lock()
	e := it.entry
	it.c.mu.Unlock()
	mark := &storage.Mark{Size: e.Size, ModTime: e.ModTime}
	if e.Whole {
		return storage.Seed(ctx, t, e.Path, mark, nil)
	}
	return storage.Resume(ctx, t, e.Path, e.Have, mark, nil)
}

// lose keeps an item that cannot run, with the reason.
func (it *item) lose(err error) {
	it.c.mu.Lock()
	defer it.c.mu.Unlock()
	it.loseLocked(err)
}

func (it *item) loseLocked(err error) {
	var mismatch *storage.MismatchError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: put it back and resume the torrent, relocate it if it was moved, or remove it", err)
	case errors.As(err, &mismatch):
		err = fmt.Errorf("%w: put the right one there and resume the torrent, or remove it", err)
	}
	it.c.log.Warn("torrent no longer offered", "name", it.name, "mtorrent", it.entry.Mtorrent, "path", it.entry.Path, "error", err)
	it.missing, it.run, it.note = true, nil, plain.Error(err).Error()
	it.c.notifyLocked()
}

// start readies an item's torrent over its open file, and launches it unless
// enough downloads run. c.mu is held.
func (c *Client) start(it *item, t *torrentfmt.Torrent, file *storage.File) {
	id := it.entry.ID
	it.name, it.size, it.note, it.missing, it.file = t.Name, t.Size, "", false, file
	it.torrent, it.settled, it.sent = t, file.Whole(), it.entry.Sent
	it.run = torrent.New(torrent.Options{
		Torrent: t, File: file, Buffers: c.buffers,
		Uploads:   []*pace.Gate{it.uploads, c.uploads},
		Downloads: []*pace.Gate{it.downloads, c.downloads},
		Short:     file.Short(),
		Whole: func() {
			it.group.Put(id, t, true, false)
			it.save()
			it.settle()
			c.launchNext()
		},
		Spoiled: func(none bool) { it.spoiled(t, none) },
		Stopped: func() { c.launchNext(); c.notify() },
		Lonely:  func() { it.group.Ask(id) },
		Observe: c.o.Observe.Torrents,
		Log:     c.log.With("name", t.Name),
	})
	if it.queued = !file.Whole() && c.full(); !it.queued {
		c.launch(it)
	}
}

// launch lists an item and runs its torrent. c.mu is held.
func (c *Client) launch(it *item) {
	id, t, file, run := it.entry.ID, it.torrent, it.file, it.run
	it.queued = false
	it.group = c.group(t.Trackers)
	c.running[id] = it
	ctx, stop := context.WithCancel(c.ctx)
	it.stop = stop
	it.over.Add(1)
	c.wg.Go(func() {
		defer it.over.Done()
		defer stop()
		run.Run(ctx)
		it.save()
		if err := it.close(); err != nil {
			c.log.Error("file not closed", "name", t.Name, "error", err)
		}
	})
	it.group.Put(id, t, file.Whole(), !file.Whole())
}

// spoiled takes an item whose file was changed off the trackers, or lists it
// with what is left. What of it is still right is seeded on.
func (it *item) spoiled(t *torrentfmt.Torrent, none bool) {
	c, id := it.c, it.entry.ID
	defer c.notify()
	if !none {
		it.group.Put(id, t, false, false)
		return
	}
	c.wg.Go(func() { _ = it.group.Remove(c.ctx, id) }) // it is done later if not now
}

// end stops a running torrent and waits until its file is closed.
func (it *item) end() {
	it.c.mu.Lock()
	stop := it.stop
	if it.c.running[it.entry.ID] == it {
		delete(it.c.running, it.entry.ID)
	}
	queued := it.queued
	it.queued = false
	it.c.mu.Unlock()
	switch {
	case queued:
		if err := it.close(); err != nil {
			it.c.log.Error("file not closed", "name", it.name, "error", err)
		}
	case stop != nil:
		stop()
		it.over.Wait()
	}
}

// close closes the item's file. The .part of a removed download that nothing has
// come for is deleted: it holds nothing but room.
func (it *item) close() error {
	var err error
	if !it.c.has(it) && !it.file.Whole() && it.file.Have().None() {
		err = it.file.Remove()
	}
	return errors.Join(err, it.file.Close())
}

// left is what stays of an unfinished download that has ended.
func (it *item) left() control.Removed {
	have, whole := it.entry.Have, it.entry.Whole
	if it.file != nil {
		have, whole = it.file.Have(), it.file.Whole()
	}
	if whole || have == nil || have.None() {
		return control.Removed{}
	}
	return control.Removed{Part: storage.PartPath(it.entry.Path), Done: int(have.Count()), Pieces: int(have.Len())}
}

// save records how far the item is, so that a restart can believe its file.
func (it *item) save() {
	whole := it.file.Whole()
	have, mark, err := it.file.Checkpoint()
	if err == nil {
		it.c.mu.Lock()
		it.entry.Whole, it.entry.Have = whole, have
		it.entry.Size, it.entry.ModTime = mark.Size, mark.ModTime
		if whole {
			it.entry.Have = nil
		}
		it.entry.Sent = it.sentAll()
		if it.c.hasLocked(it) {
			err = it.c.lib.Update(it.entry)
		}
		it.c.mu.Unlock()
	}
	if err != nil {
		it.c.log.Error("progress not saved; the file is checked at the next start", "name", it.name, "error", err)
	}
}

// settle does what follows from a download's completion.
func (it *item) settle() {
	c := it.c
	c.mu.Lock()
	c.hooks.Run(
		"MTOR_NAME="+it.name,
		"MTOR_PATH="+it.entry.Path,
		"MTOR_SIZE_BYTES="+strconv.FormatInt(it.size, 10),
		"MTOR_TORRENT_ID="+it.entry.ID.String(),
		"MTOR_TORRENT_FILE="+it.entry.Mtorrent,
	)
	it.settled = true
	c.mu.Unlock()
	c.notify()
}

// status is the running torrent's, or that of the library. Client.mu is held.
func (it *item) status() torrent.Status {
	if it.run != nil {
		return it.run.Status()
	}
	st := torrent.Status{Whole: it.entry.Whole} // what is there is told once it has been checked
	switch {
	case it.missing:
	case st.Whole:
		st.Done = it.entry.Size
	case it.entry.Paused:
		st.Done = bytesOf(it.entry.Have, it.size)
	}
	return st
}

// bytesOf is how many of a file's bytes are in a set of its pieces.
func bytesOf(have *bitset.BitSet, size int64) int64 {
	if have == nil {
		return 0
	}
	n := int64(have.Count()) * torrentfmt.PieceSize
	if last := have.Len(); last > 0 && have.Test(last-1) {
		n -= int64(last)*torrentfmt.PieceSize - size
	}
	return n
}

// sentAll is how many bytes were sent to peers since it was added. Client.mu is
// held.
func (it *item) sentAll() int64 {
	if it.run == nil {
		return it.entry.Sent
	}
	return it.sent + it.run.Sent()
}

// download is the item's line in `show downloads`. c.mu is held.
func (it *item) download() control.Download {
	st := it.status()
	d := control.Download{
		ID: it.entry.ID.String(), Name: it.name, Mtorrent: it.entry.Mtorrent, Path: it.entry.Path,
		Size: it.size, Done: st.Done, DownRate: st.DownRate, UpRate: st.UpRate, Sent: it.sentAll(),
		Peers: st.Peers, Note: it.note, Sources: st.Sources, SeedUntil: it.goal(),
		State: stateOf(it.run, st, it.missing, it.entry.Paused),
	}
	if d.Sources == nil {
		d.Sources = map[string]int{}
	}
	switch d.State {
	case control.Paused:
		d.Note = ""
		if it.seededEnough() {
			d.Note = "seeded enough: resume seeds on"
		}
		return d
	case control.Failed:
		d.Note = plain.Error(st.Err).Error() + ": mend that and resume it, or remove it"
	case control.NoRoom:
		d.Note = st.Paused.Error() + ": it goes on when there is"
	}
	if it.queued {
		d.Note = "queued"
	}
	if d.Note == "" && it.group != nil {
		if trouble := it.group.Trouble(); trouble != nil {
			d.Note = trouble.Error()
		}
	}
	switch {
	case d.Note != "" || d.State != control.Downloading:
	case d.Done == d.Size:
		d.Note = "being made durable"
	case d.Peers == 0:
		d.Note = "waits for peers"
	}
	return d
}

// stateOf is the state of an item; run is nil before its file is open, and st
// run's.
func stateOf(run *torrent.Torrent, st torrent.Status, missing, paused bool) control.State {
	switch {
	case missing:
		return control.Missing
	case paused:
		return control.Paused
	case run == nil:
		return control.Checking
	case st.Err != nil:
		return control.Failed
	case st.Whole:
		return control.Seeding
	case st.Paused != nil:
		return control.NoRoom
	}
	return control.Downloading
}

func (c *Client) has(it *item) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hasLocked(it)
}

func (c *Client) hasLocked(it *item) bool {
	for _, x := range c.items {
		if x == it {
			return true
		}
	}
	return false
}
