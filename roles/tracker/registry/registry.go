// Package registry owns the seederlist: who is listed for which torrent, the
// rules by which trackers that change it at the same time come to agree, and
// the file that keeps it.
//
// Every change is an [Entry] that writes one register: a row (torrent, client
// address), a client's home, a client's floor, or a torrent's name. An entry
// has a [Dot], which names it, and a [Stamp], by which the newest of a
// register is found; a tracker's [Vector] says which dots it accounts for.
// docs/replication.md tells why that makes trackers agree.
//
// One goroutine plans changes, gathers them, makes them durable with one
// fsync, and only then shows and answers them. Reading never waits for the
// disk.
package registry

import (
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// ErrClosed is the answer to what comes after Close.
var ErrClosed = errors.New("registry is closed")

// Registry is an open seederlist file. Its methods may be called from many
// goroutines; functions passed as done are called once, from the registry's
// goroutine, in the order of the calls, and must not block.
type Registry struct {
	store *store
	start time.Time
	acks  *acks

	mu      sync.RWMutex // held to write core's tables, and to read them from outside run
	core    *core
	pins    int
	changed chan struct{} // closed and replaced when the vector grows
	unread  chan struct{} // a scan was closed
	hidden  map[NodeID]bool

	repaired  atomic.Uint64
	committed atomic.Pointer[func(time.Duration)]

	submitMu sync.RWMutex // held to send on ops; for writing to close it
	closed   bool
	ops      chan op
	stopped  chan struct{} // run has ended

	failed chan struct{} // closed when a commit failed
	err    error         // why; set before failed is closed
}

// op is one change on its way. plan decides on it; done hears that it is
// durable, or why not.
type op struct {
	plan  func(*batch)
	done  func(error)
	whole *Addr // plan needs all rows of this client
	alone bool  // plan drops entries: in a batch of its own, while no scan is open
}

// queued bounds the changes that wait for the disk; beyond it their callers do.
const queued = 4096

// Open is OpenAs with a node ID that nobody has had.
func Open(path string) (*Registry, error) {
	var node NodeID
	_, _ = rand.Read(node[:]) // never fails
	return OpenAs(path, node)
}

// OpenAs opens the seederlist file at path, or makes it for a tracker of that
// node ID; one that is there keeps its own. The error wraps [ErrInUse],
// [ErrForeign], [ErrDamaged] or [ErrVersion] where it is that.
func OpenAs(path string, node NodeID) (*Registry, error) {
	st, err := openStore(path, node)
	if err != nil {
		return nil, err
	}
	r := &Registry{
		store:   st,
		start:   time.Now(),
		changed: make(chan struct{}),
		unread:  make(chan struct{}, 1),
		ops:     make(chan op, queued),
		stopped: make(chan struct{}),
		failed:  make(chan struct{}),
	}
	var self Origin
	copy(self[:], st.node[:])
	_, _ = rand.Read(self[nodeIDSize:]) // never fails
	r.core, r.acks = newCore(self), newAcks(self)
	if err := st.load(r.core); err != nil {
		_ = st.close()
		return nil, fmt.Errorf("seederlist file %s: %w", path, err)
	}
	go r.run()
	return r, nil
}

// Close finishes what was asked for and closes the file.
func (r *Registry) Close() error {
	r.submitMu.Lock()
	if !r.closed {
		r.closed = true
		close(r.ops)
	}
	r.submitMu.Unlock()
	<-r.stopped
	return r.store.close()
}

// Failed is closed when the file could not be written. Err then says why, and
// every later change is refused: what an fsync has lost cannot be known.
func (r *Registry) Failed() <-chan struct{} { return r.failed }

// Err is nil until Failed is closed.
func (r *Registry) Err() error {
	select {
	case <-r.failed:
		return r.err
	default:
		return nil
	}
}

// Origin is what this run of the tracker writes under.
func (r *Registry) Origin() Origin { return r.core.self }

// NodeID is this tracker's ID, which the file keeps.
func (r *Registry) NodeID() NodeID { return r.store.node }

func (r *Registry) submit(o op) {
	r.submitMu.RLock()
	defer r.submitMu.RUnlock()
	if r.closed {
		o.done(ErrClosed)
		return
	}
	r.ops <- o
}

func (r *Registry) mono() int64 { return time.Since(r.start).Milliseconds() }

// request submits a change that has a Result.
func (r *Registry) request(whole *Addr, plan func(*batch) Result, done func(Result, error)) {
	var res Result
	r.submit(op{
		whole: whole,
		plan:  func(b *batch) { res = plan(b) },
		done:  func(err error) { done(res, err) },
	})
}

// Announcement lists a client for a torrent.
type Announcement struct {
	Torrent torrentfmt.ID
	Asker
	Whole bool  // the client has every piece
	Echo  Stamp // the newest stamp that the client has been given
	// Info and Hashes are needed for a torrent that is not known yet; the
	// caller has checked that they belong to Torrent. Hashes must not be
	// changed afterwards.
	Info   *Info
	Hashes []byte
}

// Refresh answers an announcement that changes nothing, at once. It reports
// false if Announce has to be called. It must not overtake a change of the
// same client that is still on its way.
func (r *Registry) Refresh(a *Announcement) (Result, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tor := r.core.torrent(a.Torrent)
	if tor == nil || tor.info == nil {
		return Result{Outcome: NeedHashes}, a.Info == nil
	}
	cn, ok := r.core.clientNum[a.Addr]
	if !ok {
		return Result{}, false
	}
	c := &r.core.clients[cn]
	if c.home.seq == 0 || c.owner != a.Node || r.core.nodes[c.home.node] != r.core.self.Node() || a.Echo > c.given {
		return Result{}, false
	}
	i := tor.find(cn)
	if i < 0 {
		return Result{}, false
	}
	e := Entry{}
	r.core.fillRow(&e, tor.rows[i])
	if !e.fresh(a.Whole, c.home.stamp) {
		return Result{}, false
	}
	c.seen.Store(r.mono())
	return Result{Stamp: e.Stamp}, true
}

// Announce lists a client. Outcome NeedHashes asks for Info and Hashes. Owned,
// as of all that follow, says that the address is another's, and all stays as it
// is.
func (r *Registry) Announce(a Announcement, done func(Result, error)) {
	if a.Info != nil {
		r.putHashes(a.Torrent, a.Hashes)
	}
	r.request(nil, func(b *batch) Result {
		return b.announce(a.Asker, a.Torrent, a.Whole, a.Echo, a.Info)
	}, done)
}

// Remove takes a client off one torrent's list.
func (r *Registry) Remove(by Asker, id torrentfmt.ID, echo Stamp, done func(Result, error)) {
	r.request(nil, func(b *batch) Result { return b.remove(by, id, echo) }, done)
}

// Leave takes a client off every list.
func (r *Registry) Leave(by Asker, echo Stamp, done func(Result, error)) {
	r.request(&by.Addr, func(b *batch) Result { return b.leave(by, echo) }, done)
}

// Renew keeps a client's rows if there are n and their digest is as given (see
// wire.Renew). Outcome NeedList asks the client to announce each.
func (r *Registry) Renew(by Asker, n int, digest [sha1.Size]byte, echo Stamp, done func(Result, error)) {
	r.request(&by.Addr, func(b *batch) Result { return b.renew(by, n, digest, echo) }, done)
}

// Expire ends the rows of a client that has been silent for lease or longer,
// if this tracker is its home, or its home is forgotten.
func (r *Registry) Expire(addr Addr, lease time.Duration, done func(Result, error)) {
	r.request(&addr, func(b *batch) Result {
		return b.expire(addr, b.mono-lease.Milliseconds())
	}, done)
}

// silentStep bounds the clients looked at under one lock.
const silentStep = 4096

// Silent lists the clients at home here, or at a forgotten tracker, that hold
// rows and have been silent here for lease or longer.
func (r *Registry) Silent(lease time.Duration) []Addr {
	since := r.mono() - lease.Milliseconds()
	var out []Addr
	for at, more := 0, true; more; at += silentStep {
		r.mu.RLock()
		end := min(at+silentStep, len(r.core.clients))
		for i := at; i < end; i++ {
			c := &r.core.clients[i]
			if c.present > 0 && c.home.seq != 0 && c.seen.Load() <= since && r.core.tends(r.core.nodes[c.home.node]) {
				out = append(out, c.addr)
			}
		}
		more = end < len(r.core.clients)
		r.mu.RUnlock()
	}
	return out
}

// Seeder is one listed peer.
type Seeder struct {
	Addr  netip.AddrPort
	Whole bool
	Node  NodeID // what it has proven to be; zero: nothing
}

// Seeders appends to dst up to want of a torrent's listed peers, without
// asker and those that [Registry.Hide] hides, each as likely as any other. total
// is how many there are in all.
func (r *Registry) Seeders(dst []Seeder, id torrentfmt.ID, asker Addr, want int) (list []Seeder, total int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tor := r.core.torrent(id)
	if tor == nil {
		return dst, 0
	}
	if r.hidden != nil {
		return r.visible(dst, tor, asker, want)
	}
	n, skip := int(tor.present), -1
	total = n
	if cn, ok := r.core.clientNum[asker]; ok {
		if i := tor.find(cn); i >= 0 && i < n {
			skip = i
			total--
		}
	}
	want = min(want, total)
	if want <= 0 {
		return dst, total
	}
	add := func(i int) {
		row := tor.rows[i]
		dst = append(dst, r.core.clients[row.client].seeder(row))
	}
	if want == total {
		for i := range n {
			if i != skip {
				add(i)
			}
		}
		return dst, total
	}
	// One of each of want stretches of equal length: all different, no memory
	// of what was picked, and every row has the same chance. The stretches
	// start anywhere, so that neighbours do not always come as a pair, and
	// pass over the asker.
	start := mrand.IntN(total)
	for j := range want {
		lo, hi := j*total/want, (j+1)*total/want
		i := (start + lo + mrand.IntN(hi-lo)) % total
		if skip >= 0 && i >= skip {
			i++
		}
		add(i)
	}
	return dst, total
}

// Whole is how many of a torrent's listed peers are whole, of those that
// [Registry.Seeders] counts. It looks at every row.
func (r *Registry) Whole(id torrentfmt.ID, asker Addr) (n int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tor := r.core.torrent(id)
	if tor == nil {
		return 0
	}
	for _, row := range tor.rows[:tor.present] {
		if c := &r.core.clients[row.client]; row.whole() && c.addr != asker && !r.hides(c) {
			n++
		}
	}
	return n
}

func (c *client) seeder(r row) Seeder { return Seeder{c.addr.AddrPort(), r.whole(), c.owner} }

// Known reports what a torrent is called, if that is known.
func (r *Registry) Known(id torrentfmt.ID) (Info, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tor := r.core.torrent(id)
	if tor == nil || tor.info == nil {
		return Info{}, false
	}
	return tor.info.told(), true
}

// Stats counts what is held.
type Stats struct {
	Torrents int // known by name or by a row
	Clients  int
	Rows     int // listed or gone
	Listed   int
}

// Stats counts what is held.
func (r *Registry) Stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.core.stats()
}

func (c *core) stats() Stats {
	return Stats{len(c.torrents), len(c.clients), c.rows, c.present}
}
