package registry

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"slices"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// Buckets is how many parts the list is cut into to compare it: by the first
// byte of the torrent ID.
const Buckets = 256

// Summary is what two trackers that account for the same entries compare.
type Summary struct {
	Vector  [sha1.Size]byte // digest of the vector
	Buckets [Buckets]uint64 // of the listed rows
}

// digest is SHA-1 over the origins in order, each with its number.
func (v Vector) digest() [sha1.Size]byte {
	order := make([]Origin, 0, len(v))
	for o, n := range v {
		if n > 0 {
			order = append(order, o)
		}
	}
	slices.SortFunc(order, Origin.compare)
	var b bytes.Buffer
	for _, o := range order {
		b.Write(o[:])
		b.Write(binary.BigEndian.AppendUint64(nil, v[o]))
	}
	return sha1.Sum(b.Bytes())
}

// sum is the part of a listed row in its bucket's hash, which is the XOR of
// all. It finds what went wrong; nobody is kept from making two equal.
func sum(id torrentfmt.ID, a Addr, r row) uint64 {
	const odd = 0x9e3779b97f4a7c15 // the golden ratio, as in Fibonacci hashing
	h := uint64(0)
	for _, w := range [...]uint64{
		binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:]),
		binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]),
		uint64(a[16])<<8 | uint64(a[17]), uint64(r.stamp), r.packed & flagWhole,
	} {
		h = (h ^ w) * odd
		h ^= h >> 32
	}
	return h
}

func (t *tables) mark(id torrentfmt.ID, a Addr, r row) { t.buckets[id[0]] ^= sum(id, a, r) }

// Summary is of one moment.
func (r *Registry) Summary() Summary {
	r.mu.RLock()
	v, b := r.core.vector(), r.core.buckets
	r.mu.RUnlock()
	return Summary{v.digest(), b}
}

// Differ lists the buckets in which two summaries of equal vectors differ.
func (s *Summary) Differ(o *Summary) []byte {
	var out []byte
	if s.Vector != o.Vector {
		return nil
	}
	for i := range s.Buckets {
		if s.Buckets[i] != o.Buckets[i] {
			out = append(out, byte(i))
		}
	}
	return out
}

// Held lists all rows of the buckets, listed or gone, and every client's floor.
func (r *Registry) Held(buckets []byte) []Entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.core.held(buckets)
}

func (c *core) held(buckets []byte) []Entry {
	var out []Entry
	for i := range c.torrents {
		tor := &c.torrents[i]
		if !slices.Contains(buckets, tor.id[0]) {
			continue
		}
		for _, r := range tor.rows {
			e := Entry{Kind: KindRow, Torrent: tor.id, Addr: c.clients[r.client].addr}
			c.fillRow(&e, r)
			out = append(out, e)
		}
	}
	for i := range c.clients {
		if c.clients[i].floor != nil {
			e, _ := c.get(key{kind: KindFloor, addr: c.clients[i].addr})
			out = append(out, e)
		}
	}
	return out
}

// repair takes what another tracker holds in a bucket that differs. Neither
// vector says who is right, so the newer of a register stays, and a row that
// only one has.
func (b *batch) repair(entries []Entry, at [sha1.Size]byte) int {
	if b.c.vector().digest() != at {
		return 0 // no longer in step: there may be nothing wrong
	}
	before := len(b.puts)
	for _, e := range entries {
		if !e.Kind.known() {
			continue
		}
		if _, ok := b.get(e.key()); ok || !e.Gone && e.Kind == KindRow {
			b.mergeNewer(e)
		}
	}
	return len(b.puts) - before
}

// Repair takes what another tracker holds in buckets that differed when the
// digest of both vectors was at. done hears how many entries were taken.
func (r *Registry) Repair(entries []Entry, at [sha1.Size]byte, done func(taken int, err error)) {
	for i := range entries {
		if err := entries[i].Check(); err != nil {
			done(0, err)
			return
		}
	}
	taken := 0
	r.submit(op{
		plan: func(b *batch) { taken = b.repair(entries, at) },
		done: func(err error) {
			if err == nil {
				r.repaired.Add(uint64(taken))
			}
			done(taken, err)
		},
	})
}

// Repaired counts the entries that Repair took. It stays 0 unless a disk was
// set back or something is wrong.
func (r *Registry) Repaired() uint64 { return r.repaired.Load() }
