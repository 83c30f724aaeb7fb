package registry

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// disk is what a simulated tracker has made durable.
type disk struct {
	node    NodeID
	origins []Origin
	vector  []uint64
	dropped []uint64
	members map[NodeID]bool // to whether forgotten
	clock   Stamp
	entries map[dotRef]Entry
}

func (d *disk) after(origin uint32, from, upto uint64, visit func(Entry) bool) (uint64, bool, error) {
	var seqs []uint64
	for ref := range d.entries {
		if ref.origin == origin && ref.seq > from && ref.seq <= upto {
			seqs = append(seqs, ref.seq)
		}
	}
	slices.Sort(seqs)
	next := from
	for _, n := range seqs {
		next = n
		if !visit(d.entries[dotRef{origin, n}]) {
			return next, true, nil
		}
	}
	return next, false, nil
}

func (d *disk) clone() *disk {
	c := *d
	c.origins, c.vector, c.entries = slices.Clone(d.origins), slices.Clone(d.vector), maps.Clone(d.entries)
	c.dropped, c.members = slices.Clone(d.dropped), maps.Clone(d.members)
	return &c
}

// noon is what a right clock says.
const noon = 100_000_000_000

// node is a simulated tracker: the real core on a simulated disk.
type node struct {
	*core
	disk *disk
	// backup is the disk as it once was.
	backup *disk
	runs   int
	wall   int64
	pins   int
	peers  int // configured
	past   *history
}

func newNode(i int) *node {
	n := &node{disk: &disk{entries: map[dotRef]Entry{}, members: map[NodeID]bool{}}, wall: noon, peers: notCollecting}
	n.disk.node[0] = byte(i + 1)
	n.start()
	return n
}

func (n *node) start() {
	n.runs++
	var self Origin
	copy(self[:], n.disk.node[:])
	binary.BigEndian.PutUint64(self[nodeIDSize:], uint64(n.runs))
	n.core, n.pins = newCore(self), 0
	for _, o := range n.disk.origins {
		n.number(o)
	}
	copy(n.have, n.disk.vector)
	copy(n.core.dropped, n.disk.dropped)
	n.clock.observe(n.disk.clock)
	n.core.peers = n.peers
	for id, forgotten := range n.disk.members {
		m := n.memberOf(id)
		m.recorded, m.forgotten = true, forgotten
	}
	for _, ref := range slices.SortedFunc(maps.Keys(n.disk.entries), compareRefs) {
		e := n.disk.entries[ref]
		e.Dot.Origin = n.origins[ref.origin]
		n.admit(&e)
	}
}

// restore puts the tracker onto an old disk.
func (n *node) restore(d *disk) {
	n.disk = d.clone()
	n.start()
	if n.past != nil {
		n.past.restored = true
		n.past.orphan()
	}
}

func (n *node) plan() *batch { return n.begin(n.wall, 0) }

func (n *node) commit(b *batch) {
	n.introduce(b)
	if n.past != nil {
		n.past.note(n, b)
	}
	b.lasting(func(e *Entry) { n.disk.entries[dotRef{n.number(e.Dot.Origin), e.Dot.Seq}] = *e })
	for _, d := range b.drops {
		delete(n.disk.entries, d.ref)
	}
	n.apply(b)
	n.disk.origins = slices.Clone(n.origins)
	n.disk.vector = slices.Clone(n.have)
	n.disk.dropped = slices.Clone(n.core.dropped)
	maps.Copy(n.disk.members, b.members)
	if len(b.drops) > 0 || len(b.raises) > 0 {
		n.disk.clock = n.clock.last
	}
}

func (n *node) sweep() {
	if n.pins > 0 {
		return
	}
	for _, d := range n.superseded {
		delete(n.disk.entries, d)
	}
	n.superseded = nil
	n.swept = n.losers
}

// tidy is one step of the collection, as far as sweeping allows it.
func (n *node) tidy() *batch {
	n.gather()
	b := n.plan()
	if n.pins == 0 {
		b.collect()
	}
	return b
}

// hear takes a report, and with it notice of who sent it.
func (n *node) hear(from NodeID, v Vector) {
	b := n.plan()
	b.meet(from)
	b.reports = append(b.reports, report{from, v})
	n.commit(b)
}

func (n *node) homes() (k int) {
	for i := range n.clients {
		if n.clients[i].home.seq > 0 {
			k++
		}
	}
	return k
}

func (n *node) names() (k int) {
	for i := range n.torrents {
		if n.torrents[i].info != nil {
			k++
		}
	}
	return k
}

// listed is what a tracker answers, as text.
func (n *node) listed() []string {
	var out []string
	for i := range n.torrents {
		tor := &n.torrents[i]
		for _, r := range tor.rows[:tor.present] {
			out = append(out, fmt.Sprintf("%v %v whole=%v", tor.id[0], n.clients[r.client].addr[17], r.whole()))
		}
	}
	slices.Sort(out)
	return out
}
