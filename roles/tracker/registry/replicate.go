package registry

import (
	"errors"
	"fmt"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// Vector is what this tracker durably accounts for.
func (r *Registry) Vector() Vector {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.core.vector()
}

// Changed is closed when the vector has grown since the call.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// Merge takes entries that another tracker sent, then, when they and all
// before them are in, extends the vector by spans. Entries may repeat. done
// hears when everything is durable.
//
// The hash string of a torrent's entry must have been given to PutHashes
// before.
func (r *Registry) Merge(entries []Entry, spans []Span, done func(error)) {
	for i := range entries {
		if err := entries[i].Check(); err != nil {
			done(err)
			return
		}
	}
	var refused error
	r.submit(op{
		plan: func(b *batch) {
			for _, e := range entries {
				b.merge(e)
			}
			refused = b.adopt(spans)
		},
		done: func(err error) { done(errors.Join(err, refused)) },
	})
}

// Reconcile takes a full walk (see [Scan.Full]), which also tells by what it
// lacks.
type Reconcile struct {
	r    *Registry
	seen seen
}

// Reconcile begins to take a full walk. It is not for several goroutines.
func (r *Registry) Reconcile() *Reconcile { return &Reconcile{r, seen{}} }

// Merge is as [Registry.Merge], without spans.
func (rc *Reconcile) Merge(entries []Entry, done func(error)) {
	for i := range entries {
		if err := entries[i].Check(); err != nil {
			done(err)
			return
		}
	}
	rc.seen.add(entries)
	rc.r.submit(op{
		plan: func(b *batch) {
			for _, e := range entries {
				b.mergeFull(e)
			}
		},
		done: done,
	})
}

// Finish extends the vector by spans, which begin at 0 and are all of the
// giver's vector, ends the rows and floors that the giver accounts for and did
// not send, and remembers what the giver has dropped. It waits until no scan is
// open.
func (rc *Reconcile) Finish(spans []Span, dropped Vector, done func(error)) {
	var refused error
	rc.r.submit(op{
		alone: true,
		plan:  func(b *batch) { refused = b.reconcile(rc.seen, spans, dropped) },
		done:  func(err error) { done(errors.Join(err, refused)) },
	})
}

// Collect lets what is gone be dropped once every other tracker is known to
// know of it. peers is how many others are configured: it does not begin before
// so many have been met.
func (r *Registry) Collect(peers int) {
	r.submit(op{plan: func(b *batch) { b.c.peers = peers }, done: func(error) {}})
}

// PutHashes stores the hash string of a torrent, and behind it a folder's list
// of files, before an entry that needs it. The caller has checked that it
// belongs to id.
func (r *Registry) PutHashes(id torrentfmt.ID, hashes []byte) { r.putHashes(id, hashes) }

// putHashes needs no answer: a later change is durable only if this is, and
// fails if this fails.
func (r *Registry) putHashes(id torrentfmt.ID, hashes []byte) {
	if _, known := r.Known(id); known {
		return
	}
	for i := 0; i*chunkSize < len(hashes); i++ {
		ch := chunk{id, uint32(i), hashes[i*chunkSize : min((i+1)*chunkSize, len(hashes))]}
		r.submit(op{
			plan: func(b *batch) {
				b.chunks = append(b.chunks, ch)
				b.bytes += len(ch.data)
			},
			done: func(error) {},
		})
	}
}

// Hashes passes what PutHashes was given, left bytes, to visit, in order and in
// parts of at most half a MiB.
func (r *Registry) Hashes(id torrentfmt.ID, left int, visit func([]byte) error) error {
	for i := uint32(0); left > 0; i++ {
		data, err := r.store.hashChunk(id, i)
		if err != nil {
			return err
		}
		if len(data) == 0 || len(data) > left {
			return fmt.Errorf("hash string of %v: chunk %d has %d bytes, %d are left", id, i, len(data), left)
		}
		left -= len(data)
		if err := visit(data); err != nil {
			return err
		}
	}
	return nil
}

// Scan reads all stored entries that a vector does not cover, as of one
// moment. While it is open nothing is swept, so Close it soon.
type Scan struct {
	r       *Registry
	scan    *scan
	origins []Origin
	closed  bool
}

// Scan starts to read what from does not cover.
func (r *Registry) Scan(from Vector) *Scan {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pins++
	return &Scan{r: r, scan: r.core.newScan(from), origins: r.core.origins[:len(r.core.origins):len(r.core.origins)]}
}

// Vector is what a tracker accounts for that had from and took all entries of
// the scan.
func (s *Scan) Vector() Vector { return s.scan.upto }

// Full reports whether everything is walked, because the one with the vector
// may hold entries that were beaten by something dropped here since. It must be
// taken with [Registry.Reconcile].
func (s *Scan) Full() bool { return s.scan.full }

// Dropped is, for a full walk, what [Reconcile.Finish] must be given.
func (s *Scan) Dropped() Vector { return s.scan.dropped }

// Next reads at most limit entries more; none at the end. The entries of one
// origin come in the order they were written.
func (s *Scan) Next(limit int) ([]Entry, error) {
	return s.scan.step(s.r.store, s.origins, limit)
}

// Close ends the scan. It may be called again.
func (s *Scan) Close() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.r.pins--
		select {
		case s.r.unread <- struct{}{}:
		default:
		}
	}
}
