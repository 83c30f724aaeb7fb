package registry

import (
	"crypto/sha1"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// MaxTorrents bounds the rows of one client address, listed or gone, so that
// nobody can fill the tracker from one socket: more than any library holds.
const MaxTorrents = 200_000

// MaxHostRows bounds the rows of one IPv4 address or IPv6 network of 64 bits,
// listed or gone, since a host has as many addresses as ports: ten libraries of
// the largest size, or a site of 4,000 clients with 500 torrents each behind one
// address, in some 200 MB of memory. What another tracker took counts, but is
// never refused, or the lists would differ.
const MaxHostRows = 10 * MaxTorrents

// Outcome is how a request ended.
type Outcome uint8

const (
	Done       Outcome = iota // done, and durable
	NeedHashes                // the torrent is unknown: announce with its hash string
	NeedList                  // the renewal does not match: announce every torrent
	TooMany                   // the client has MaxTorrents rows, or its host MaxHostRows
	Owned                     // the address is listed as another node's, which has proven to be it
)

// Result answers a request.
type Result struct {
	Outcome Outcome
	// Stamp is what the client echoes with its next request to any tracker.
	Stamp Stamp
	// Rows is how many listed rows were written or ended.
	Rows int
	// Listed reports whether the client came onto a list that it was not on.
	Listed bool
}

// Asker is whose request it is.
type Asker struct {
	Addr Addr
	// Node is what the asker has proven to be, and wants to be listed as; zero
	// for nobody in particular.
	Node NodeID
}

// owned reports whether the rows of the asker's address are another's: once a
// node has announced itself with proof, only it can change anything there, as
// long as any of its rows is listed. A client that is hidden, because its home
// is silent, has lost that: nobody could say when its lease ended.
func (b *batch) owned(by Asker) bool {
	home, ok := b.get(key{kind: KindHome, addr: by.Addr})
	if !ok || home.Owner == (NodeID{}) || home.Owner == by.Node || b.hidden[home.Node] {
		return false
	}
	if c := b.c.client(by.Addr); c != nil && c.present > 0 {
		return true
	}
	// All were gone, and the owner may have listed some anew in this batch.
	for i := range b.puts {
		e := &b.puts[i]
		if e.Kind == KindRow && e.Addr == by.Addr && !e.Gone && !b.beaten[i] && e.Stamp >= b.floor(by.Addr) {
			return true
		}
	}
	return false
}

// home decides whether this tracker may go on from what it knows of a client.
//
// So it is when it proves to be another node than before, or nobody any more.
//
// While a client stays here, all its requests came here, and a row is newer
// than the home entry only if the client announced it during this stay. So
// whenever the client has been elsewhere (its home is another tracker, or it
// echoes a stamp that was not given here), a new home entry is written, above
// everything the client has done; each row counts as confirmed again once it
// is announced anew, with a stamp above that. Otherwise a row would be taken
// for fresh although its removal, made elsewhere, is still on its way.
//
// Every request that writes does so, a removal too: it raises what was given
// here, which must never hide that the client was away.
func (b *batch) home(by Asker, echo Stamp) (stay Stamp, moved bool) {
	e, ok := b.get(key{kind: KindHome, addr: by.Addr})
	if ok && e.Node == b.c.self.Node() && e.Owner == by.Node && echo <= b.givenTo(by.Addr) {
		return e.Stamp, false
	}
	return 0, true
}

func (b *batch) moveHome(by Asker) Stamp {
	s := b.write(Entry{Kind: KindHome, Addr: by.Addr, Node: b.c.self.Node(), Owner: by.Node})
	b.give(by.Addr, s)
	return s
}

func (b *batch) givenTo(a Addr) Stamp {
	s := b.given[a]
	if c := b.c.client(a); c != nil {
		s = max(s, c.given)
	}
	return s
}

func (b *batch) give(a Addr, s Stamp) { b.given[a] = max(b.given[a], s) }

// fresh reports whether an announce would change nothing.
func (e *Entry) fresh(whole bool, stay Stamp) bool {
	return !e.Gone && e.Whole == whole && e.Stamp > stay
}

// Info is what a torrent is called, given once by the first who announces it.
type Info struct {
	Name string // filename
	Size int64  // bytes
	List int    // bytes of the canonical list of files, 0 for a single file
}

// lengths packs the size of a torrent and the length of its list.
type lengths uint64

// sizeBits hold any size that Check accepts, and the rest of a word any length
// of a list.
const sizeBits = 42

func (e *Entry) lengths() lengths { return lengths(e.List)<<sizeBits | lengths(e.Size) }

func (l lengths) split() (size int64, list int) {
	return int64(l & (1<<sizeBits - 1)), int(l >> sizeBits)
}

func (i *info) told() Info {
	size, list := i.size.split()
	return Info{Name: i.name, Size: size, List: list}
}

func (b *batch) announce(by Asker, id torrentfmt.ID, whole bool, echo Stamp, inf *Info) Result {
	a := by.Addr
	if b.owned(by) {
		return Result{Outcome: Owned}
	}
	echo = b.c.clock.echo(echo, b.wall)
	old, ok := b.get(key{kind: KindRow, torrent: id, addr: a})
	if !ok && b.full(a) {
		return Result{Outcome: TooMany}
	}
	if _, known := b.get(key{kind: KindTorrent, torrent: id}); !known {
		if inf == nil {
			return Result{Outcome: NeedHashes}
		}
		b.write(Entry{Kind: KindTorrent, Torrent: id, Name: inf.Name, Size: inf.Size, List: inf.List})
	}
	b.saw(a)
	stay, moved := b.home(by, echo)
	if !moved && ok && old.fresh(whole, stay) {
		return Result{Stamp: old.Stamp}
	}
	if moved {
		b.moveHome(by)
	}
	s := b.write(Entry{Kind: KindRow, Torrent: id, Addr: a, Whole: whole})
	b.give(a, s)
	return Result{Stamp: s, Rows: 1, Listed: !ok || old.Gone}
}

// unknown reports whether nobody here has heard of the client, nor it of any
// tracker: then it has nothing to end.
func (b *batch) unknown(a Addr, echo Stamp) bool {
	return echo == 0 && b.c.client(a) == nil && !b.touched[a]
}

func (b *batch) remove(by Asker, id torrentfmt.ID, echo Stamp) Result {
	a := by.Addr
	if b.owned(by) {
		return Result{Outcome: Owned}
	}
	if b.unknown(a, echo) {
		return Result{}
	}
	echo = b.c.clock.echo(echo, b.wall)
	old, ok := b.get(key{kind: KindRow, torrent: id, addr: a})
	stay, moved := b.home(by, echo)
	if !moved && ok && old.Gone && old.Stamp > stay {
		return Result{Stamp: max(old.Stamp&^1, echo)}
	}
	if !ok && b.full(a) {
		return Result{Outcome: TooMany}
	}
	// A row that is not here, or not of this stay, may still be on its way
	// from another tracker: the gone row waits for it.
	if moved {
		b.moveHome(by)
	}
	s := b.write(Entry{Kind: KindRow, Torrent: id, Addr: a, Gone: true})
	b.give(a, s)
	res := Result{Stamp: s}
	if ok && !old.Gone {
		res.Rows = 1
	}
	return res
}

func (b *batch) full(a Addr) bool {
	if c := b.c.client(a); c != nil && len(c.torrents) >= MaxTorrents {
		return true
	}
	h, known := b.c.hostNum[hostOf(a)]
	return known && b.c.hostRows[h] >= MaxHostRows
}

func (b *batch) leave(by Asker, echo Stamp) Result {
	a := by.Addr
	if b.owned(by) {
		return Result{Outcome: Owned}
	}
	if b.unknown(a, echo) {
		return Result{}
	}
	echo = b.c.clock.echo(echo, b.wall)
	n := b.listed(a, func(*Entry) {})
	stay, moved := b.home(by, echo)
	if !moved && n == 0 && b.floor(a) > stay {
		return Result{Stamp: max(b.floor(a), echo)}
	}
	if moved {
		b.moveHome(by)
	}
	s := b.write(Entry{Kind: KindFloor, Addr: a})
	b.give(a, s)
	return Result{Stamp: s, Rows: n}
}

// listed visits the listed rows of a client that the batch has not touched
// yet, and counts them.
func (b *batch) listed(a Addr, visit func(*Entry)) int {
	c := b.c.client(a)
	if c == nil {
		return 0
	}
	n, cn := 0, b.c.clientNum[a]
	for _, tn := range c.torrents {
		tor := &b.c.torrents[tn]
		r := tor.rows[tor.find(cn)]
		if r.gone() {
			continue
		}
		e := Entry{Kind: KindRow, Torrent: tor.id, Addr: a}
		b.c.fillRow(&e, r)
		n++
		visit(&e)
	}
	return n
}

// renew keeps a client's rows if they are those that the client thinks it has.
func (b *batch) renew(by Asker, n int, digest [sha1.Size]byte, echo Stamp) Result {
	a := by.Addr
	if b.owned(by) {
		return Result{Outcome: Owned}
	}
	echo = b.c.clock.echo(echo, b.wall)
	c := b.c.client(a)
	if c == nil || c.present == 0 && c.home.seq == 0 {
		if n == 0 {
			return Result{Stamp: echo}
		}
		return Result{Outcome: NeedList, Stamp: echo}
	}
	b.saw(a)
	stay, moved := b.home(by, echo)
	if int(c.present) == n && c.digest == digest {
		if moved {
			stay = b.moveHome(by)
		}
		return b.confirm(a, stay, echo)
	}
	if !moved && b.dropUnconfirmed(a, n, digest, stay) {
		return Result{Stamp: b.givenTo(a)}
	}
	return Result{Outcome: NeedList, Stamp: b.moveHome(by)}
}

// confirm is as good as the client announcing every row that is older than its
// stay here: they get stamps above what its former home may write when it
// finds the client silent.
func (b *batch) confirm(a Addr, stay, echo Stamp) Result {
	res := Result{Stamp: max(stay, echo)}
	b.listed(a, func(e *Entry) {
		if e.Stamp > stay {
			return
		}
		res.Stamp = b.write(Entry{Kind: KindRow, Torrent: e.Torrent, Addr: a, Whole: e.Whole})
		b.give(a, res.Stamp)
		res.Rows++
	})
	return res
}

// dropUnconfirmed ends the rows that the client did not announce after it was
// asked for its list, if those that it did announce are what it renews.
func (b *batch) dropUnconfirmed(a Addr, n int, digest [sha1.Size]byte, stay Stamp) bool {
	confirmed := 0
	b.listed(a, func(e *Entry) {
		if e.Stamp > stay {
			confirmed++
		}
	})
	if confirmed != n {
		return false
	}
	var sum [sha1.Size]byte
	var stale []torrentfmt.ID
	b.listed(a, func(e *Entry) {
		if e.Stamp <= stay {
			stale = append(stale, e.Torrent)
			return
		}
		d := rowDigest(e.Torrent, e.Whole)
		for i := range sum {
			sum[i] ^= d[i]
		}
	})
	if sum != digest {
		return false
	}
	for _, id := range stale {
		b.give(a, b.write(Entry{Kind: KindRow, Torrent: id, Addr: a, Gone: true}))
	}
	return true
}

// expire ends the rows of a client that was silent since before silentSince,
// if this tracker is still its home, or its home is forgotten.
func (b *batch) expire(a Addr, silentSince int64) Result {
	c := b.c.client(a)
	home, ok := b.get(key{kind: KindHome, addr: a})
	if c == nil || !ok || !b.c.tends(home.Node) || c.seen.Load() > silentSince {
		return Result{}
	}
	var rows []Entry
	b.listed(a, func(e *Entry) { rows = append(rows, *e) })
	for _, e := range rows {
		b.write(Entry{Kind: KindRow, Torrent: e.Torrent, Addr: a, Whole: e.Whole, Gone: true, Stamp: e.Stamp.expired()})
	}
	return Result{Rows: len(rows)}
}
