package registry

import (
	"errors"
	"fmt"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// core is the registry without disk, goroutine or clock of its own: what is
// known, what the next change is called, and which stored entries are no
// longer needed. Changes are planned in a [batch], written down by the owner,
// and applied once they are durable.
type core struct {
	*tables
	self   Origin
	clock  clock
	have   []uint64 // by origin number: the version vector
	stored []uint64 // by origin number: the highest entry ever stored
	// superseded are stored entries that the tables no longer point at.
	superseded []dotRef
	losers     uint64 // how many entries were ever superseded
	swept      uint64 // the first so many of them are no longer stored
	members    map[NodeID]*member
	peers      int      // other trackers configured, or notCollecting
	dropped    []uint64 // by origin number: the highest entry dropped
	gc         collector
	// last is the origin that the owner looked up last: entries come in runs of
	// one, and it is a long key.
	last struct {
		known  bool
		origin Origin
		n      uint32
	}
	usual int // entries in the batch before
}

func newCore(self Origin) *core {
	return &core{tables: newTables(), self: self, members: map[NodeID]*member{}, peers: notCollecting}
}

// numberOf is an origin's number, if it has one. It is for the owner alone.
func (c *core) numberOf(o Origin) (n uint32, ok bool) {
	if c.last.known && c.last.origin == o {
		return c.last.n, true
	}
	if n, ok = c.originNum[o]; ok {
		c.last.known, c.last.origin, c.last.n = true, o, n
	}
	return n, ok
}

// number is an origin's number, given to it if need be.
func (c *core) number(o Origin) uint32 {
	if n, ok := c.numberOf(o); ok {
		return n
	}
	n := intern(c.originNum, &c.origins, o)
	for len(c.have) < len(c.origins) {
		c.have = append(c.have, 0)
		c.stored = append(c.stored, 0)
		c.dropped = append(c.dropped, 0)
		if node := c.origins[len(c.have)-1].Node(); node != c.self.Node() {
			c.memberOf(node)
		}
	}
	return n
}

// own is the newest own sequence number that is durable.
func (c *core) own() uint64 {
	if n, ok := c.originNum[c.self]; ok {
		return c.have[n]
	}
	return 0
}

func (c *core) vector() Vector {
	v := make(Vector, len(c.have))
	for i, n := range c.have {
		if n > 0 {
			v[c.origins[i]] = n
		}
	}
	return v
}

func (c *core) covers(d Dot) bool {
	n, ok := c.numberOf(d.Origin)
	return ok && d.Seq <= c.have[n]
}

// admit puts e into the tables if it is the newest of its register, and
// otherwise counts its stored copy as superseded.
func (c *core) admit(e *Entry) {
	n := c.number(e.Dot.Origin)
	c.stored[n] = max(c.stored[n], e.Dot.Seq)
	c.clock.observe(e.Stamp)
	if !e.Kind.known() {
		return
	}
	// Stamps of expiries are this tracker's own doing: no client was told.
	if !e.Stamp.byExpiry() && e.Dot.Origin.Node() == c.self.Node() && e.Kind != KindTorrent {
		_, cl := c.clientOf(e.Addr)
		cl.given = max(cl.given, e.Stamp)
	}
	if e.Kind == KindRow {
		c.admitRow(e, n)
		return
	}
	cur, ok := c.get(e.key())
	if ok && cur.Dot == e.Dot {
		return
	}
	if ok && !e.beats(&cur) {
		c.supersede(dotRef{n, e.Dot.Seq})
		return
	}
	c.set(e, n, c.supersede)
}

// admitRow is admit for rows, which are most of all: it looks for the torrent
// and the client once.
func (c *core) admitRow(e *Entry, origin uint32) {
	ref := dotRef{origin, e.Dot.Seq}
	if c.belowFloor(e) {
		c.supersede(ref)
		return
	}
	cn, _ := c.clientOf(e.Addr)
	tn, tor := c.torrentOf(e.Torrent)
	i := tor.find(cn)
	if i >= 0 {
		var cur Entry
		c.fillRow(&cur, tor.rows[i])
		switch {
		case cur.Dot == e.Dot:
			return
		case !e.beats(&cur):
			c.supersede(ref)
			return
		}
	}
	c.setRow(e, origin, tn, cn, i, c.supersede)
}

func (c *core) supersede(d dotRef) {
	c.superseded = append(c.superseded, d)
	c.losers++
}

func (c *core) belowFloor(e *Entry) bool {
	if e.Kind != KindRow || c.floors == 0 {
		return false
	}
	cl := c.client(e.Addr)
	return cl != nil && e.Stamp < cl.floorStamp()
}

// batch is a list of changes that become durable together, then visible
// together. Each is decided on top of those before it.
type batch struct {
	c      *core
	wall   int64 // milliseconds since 1970
	mono   int64 // milliseconds since the registry was opened
	puts   []Entry
	newest map[key]int  // index into puts
	beaten map[int]bool // the same, of what a later one of the batch replaces
	floors int          // among puts
	given  map[Addr]Stamp
	seen   []Addr
	// touched are the clients that the batch changes. What needs all of a
	// client's rows is planned in a batch that has not touched it.
	touched map[Addr]bool
	seq     uint64            // this run's newest own sequence number
	spans   map[Origin]uint64 // the vector's new values
	chunks  []chunk
	bytes   int
	members map[NodeID]bool // that became known (false) or forgotten (true)
	drops   []condemned     // entries that go without another in their place
	raises  Vector          // what another tracker has dropped
	reports []report
	hidden  map[NodeID]bool // homes whose clients are hidden; not to be changed
}

// report is a vector that a member said it had, all of it at one moment.
type report struct {
	node NodeID
	have Vector
}

// chunk is a part of a hash string on its way to the disk.
type chunk struct {
	torrent torrentfmt.ID
	index   uint32
	data    []byte
}

func (c *core) begin(wall, mono int64) *batch {
	return &batch{
		c: c, wall: wall, mono: mono, seq: c.own(),
		puts: make([]Entry, 0, c.usual), newest: make(map[key]int, c.usual), beaten: map[int]bool{},
		given: map[Addr]Stamp{}, touched: map[Addr]bool{}, spans: map[Origin]uint64{}, members: map[NodeID]bool{},
	}
}

// saw notes that the client spoke at this tracker.
func (b *batch) saw(a Addr) {
	b.seen = append(b.seen, a)
	b.touched[a] = true
}

func (b *batch) empty() bool {
	return len(b.puts) == 0 && len(b.spans) == 0 && len(b.chunks) == 0 && len(b.members) == 0 && len(b.drops) == 0 && len(b.raises) == 0
}

func (b *batch) get(k key) (Entry, bool) {
	if i, ok := b.newest[k]; ok {
		return b.puts[i], true
	}
	e, ok := b.c.get(k)
	if ok && k.kind == KindRow && e.Stamp < b.floor(k.addr) {
		return Entry{}, false
	}
	return e, ok
}

func (b *batch) floor(a Addr) Stamp {
	if b.floors == 0 && b.c.floors == 0 {
		return 0
	}
	if i, ok := b.newest[key{kind: KindFloor, addr: a}]; ok {
		return b.puts[i].Stamp
	}
	if c := b.c.client(a); c != nil {
		return c.floorStamp()
	}
	return 0
}

func (b *batch) put(e Entry) {
	b.puts = append(b.puts, e)
	b.bytes += maxRowBytes + len(e.Name) + len(e.Extra)
	if !e.Kind.known() {
		return
	}
	k := e.key()
	if i, ok := b.newest[k]; ok {
		b.beaten[i] = true
	}
	b.newest[k] = len(b.puts) - 1
	if e.Kind == KindFloor {
		b.floors++
	}
	if e.Kind != KindTorrent {
		b.touched[e.Addr] = true
	}
}

// maxRowBytes is what an entry without a name takes in the file, roughly.
const maxRowBytes = 96

// write puts an entry of this tracker's own.
func (b *batch) write(e Entry) Stamp {
	b.seq++
	e.Dot = Dot{b.c.self, b.seq}
	if e.Stamp == 0 {
		e.Stamp = b.c.clock.next(b.wall)
	}
	b.put(e)
	b.spans[b.c.self] = b.seq
	return e.Stamp
}

// merge takes an entry that another tracker sent. It may be old, known, or
// come again.
func (b *batch) merge(e Entry) {
	if !b.c.covers(e.Dot) {
		b.mergeNewer(e)
	}
}

// mergeNewer takes an entry if it is the newest of its register.
func (b *batch) mergeNewer(e Entry) {
	b.c.clock.observe(e.Stamp)
	if !e.Kind.known() {
		b.put(e)
		return
	}
	if e.Kind == KindRow && e.Stamp < b.floor(e.Addr) {
		return
	}
	cur, ok := b.get(e.key())
	if ok && !e.beats(&cur) {
		return
	}
	b.put(e)
}

var errGap = errors.New("span beyond what is held")

// adopt extends the vector after all entries of the spans were merged.
func (b *batch) adopt(spans []Span) error {
	for _, s := range spans {
		if s.From > b.haveOf(s.Origin) {
			return fmt.Errorf("%w: %v from %d, have %d", errGap, s.Origin, s.From, b.haveOf(s.Origin))
		}
	}
	for _, s := range spans {
		if s.To > b.haveOf(s.Origin) && s.Origin != b.c.self {
			b.spans[s.Origin] = s.To
		}
	}
	return nil
}

func (b *batch) haveOf(o Origin) uint64 {
	if n, ok := b.spans[o]; ok {
		return n
	}
	if n, ok := b.c.numberOf(o); ok {
		return b.c.have[n]
	}
	return 0
}

// introduce numbers the origins that the batch is the first to mention, and
// notes what it drops.
func (c *core) introduce(b *batch) {
	c.raise(b)
	for i := range b.puts {
		c.number(b.puts[i].Dot.Origin)
	}
	for o := range b.spans {
		c.number(o)
	}
}

// lasting are the entries of the batch that it does not itself supersede:
// those to be stored.
func (b *batch) lasting(visit func(*Entry)) {
	for i := range b.puts {
		if !b.beaten[i] {
			visit(&b.puts[i])
		}
	}
}

// apply shows the batch, which is durable, in the tables.
func (c *core) apply(b *batch) {
	c.usual = len(b.puts)
	b.lasting(func(e *Entry) {
		c.admit(e)
		if e.Kind == KindHome && e.Node == c.self.Node() {
			b.seen = append(b.seen, e.Addr)
		}
	})
	for o, n := range b.spans {
		i := c.number(o)
		c.have[i] = max(c.have[i], n)
	}
	c.remove(b.drops)
	for n, forgotten := range b.members {
		m := c.memberOf(n)
		m.recorded, m.forgotten = true, forgotten
	}
	for _, r := range b.reports {
		c.report(r.node, r.have)
	}
	for a, s := range b.given {
		_, cl := c.clientOf(a)
		cl.given = max(cl.given, s)
	}
	for _, a := range b.seen {
		if cl := c.client(a); cl != nil {
			cl.seen.Store(b.mono)
		}
	}
}
