package registry

import (
	"crypto/sha1"
	"net/netip"
	"sync/atomic"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// tables hold the newest entry of every register, packed: a row takes 24
// bytes in its torrent's slice and 4 in its client's, and names stand once per
// torrent. Torrents, clients, nodes and origins are numbered in the order in
// which they appear.
type tables struct {
	origins   []Origin
	originNum map[Origin]uint32
	nodes     []NodeID
	nodeNum   map[NodeID]uint32

	torrents   []torrent
	torrentNum map[torrentfmt.ID]uint32
	clients    []client
	clientNum  map[Addr]uint32
	hostRows   []int32 // rows of all clients of each, listed or gone
	hostNum    map[host]uint32

	rows    int // listed or gone
	present int // listed
	floors  int
	buckets [Buckets]uint64
}

func newTables() *tables {
	return &tables{
		originNum:  map[Origin]uint32{},
		nodeNum:    map[NodeID]uint32{},
		torrentNum: map[torrentfmt.ID]uint32{},
		clientNum:  map[Addr]uint32{},
		hostNum:    map[host]uint32{},
	}
}

// row is one (torrent, client) fact.
type row struct {
	stamp  Stamp
	packed uint64 // sequence number, then the two flags
	client uint32
	origin uint32
}

func (r row) whole() bool { return r.packed&flagWhole != 0 }
func (r row) gone() bool  { return r.packed&flagGone != 0 }
func (r row) ref() dotRef { return dotRef{r.origin, r.packed >> 2} }

// mark is where a register other than a row stands.
type mark struct {
	stamp  Stamp
	seq    uint64 // 0: never written
	origin uint32
	node   uint32 // of a home
}

func (m mark) ref() dotRef { return dotRef{m.origin, m.seq} }

// info is what is known of a torrent besides its rows.
type info struct {
	mark mark
	size lengths
	name string
}

type torrent struct {
	id      torrentfmt.ID
	present int32 // rows[:present] are listed, the others gone
	rows    []row
	index   map[uint32]int32 // client to position, only of many rows
	info    *info            // nil until its entry came
}

// indexAbove is the number of rows from which an index beats looking at each.
const indexAbove = 48

func (t *torrent) find(c uint32) int {
	if t.index != nil {
		if i, ok := t.index[c]; ok {
			return int(i)
		}
		return -1
	}
	for i := range t.rows {
		if t.rows[i].client == c {
			return i
		}
	}
	return -1
}

func (t *torrent) place(i int, r row) {
	t.rows[i] = r
	if t.index != nil {
		t.index[r.client] = int32(i)
	}
}

// put adds r, or replaces the row of the same client at position i, and keeps
// the listed rows in front.
func (t *torrent) put(i int, r row) {
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, r)
		if t.index == nil && len(t.rows) > indexAbove {
			t.index = make(map[uint32]int32, 2*indexAbove)
			for j := range t.rows {
				t.index[t.rows[j].client] = int32(j)
			}
		}
	}
	edge, listed := int(t.present), i < int(t.present)
	switch {
	case listed && r.gone():
		t.place(i, t.rows[edge-1])
		i = edge - 1
		t.present--
	case !listed && !r.gone():
		t.place(i, t.rows[edge])
		i = edge
		t.present++
	}
	t.place(i, r)
}

func (t *torrent) drop(i int) {
	c := t.rows[i].client
	if edge := int(t.present); i < edge {
		t.place(i, t.rows[edge-1])
		i = edge - 1
		t.present--
	}
	last := len(t.rows) - 1
	t.place(i, t.rows[last])
	t.rows = t.rows[:last]
	if t.index != nil {
		delete(t.index, c)
	}
}

type client struct {
	addr     Addr
	digest   [sha1.Size]byte // of its listed rows, as Renew defines it
	present  int32           // listed rows
	host     uint32
	torrents []uint32 // of all its rows, listed or gone
	home     mark
	owner    NodeID // what the home says of it
	floor    *mark  // nil: none
	// given is the newest stamp that this tracker has answered this client
	// with. A client that echoes a newer one has been elsewhere meanwhile.
	given Stamp
	// seen is when the client last renewed or announced here, in milliseconds
	// since the registry was opened.
	seen atomic.Int64
}

func (c *client) floorStamp() Stamp {
	if c.floor == nil {
		return 0
	}
	return c.floor.stamp
}

func (c *client) flip(id torrentfmt.ID, whole bool) {
	d := rowDigest(id, whole)
	for i := range c.digest {
		c.digest[i] ^= d[i]
	}
}

// rowDigest is one torrent's part of the digest of a Renew message.
func rowDigest(id torrentfmt.ID, whole bool) [sha1.Size]byte {
	var b [len(id) + 1]byte
	copy(b[:], id[:])
	if whole {
		b[len(id)] = 1
	}
	return sha1.Sum(b[:])
}

func intern[K comparable](nums map[K]uint32, list *[]K, k K) uint32 {
	n, ok := nums[k]
	if !ok {
		n = uint32(len(*list))
		nums[k] = n
		*list = append(*list, k)
	}
	return n
}

func (t *tables) torrentOf(id torrentfmt.ID) (uint32, *torrent) {
	n, ok := t.torrentNum[id]
	if !ok {
		n = uint32(len(t.torrents))
		t.torrentNum[id] = n
		t.torrents = append(t.torrents, torrent{id: id})
	}
	return n, &t.torrents[n]
}

func (t *tables) clientOf(a Addr) (uint32, *client) {
	n, ok := t.clientNum[a]
	if !ok {
		n = uint32(len(t.clients))
		t.clientNum[a] = n
		t.clients = append(t.clients, client{addr: a, host: t.hostNumOf(a)})
	}
	return n, &t.clients[n]
}

// host is where clients come from: an IPv4 address, or an IPv6 network of 64
// bits, all of which one host may use.
type host [16]byte

func hostOf(a Addr) host {
	h := host(a[:16])
	if !netip.AddrFrom16(h).Is4In6() {
		clear(h[8:])
	}
	return h
}

func (t *tables) hostNumOf(a Addr) uint32 {
	h := hostOf(a)
	n, ok := t.hostNum[h]
	if !ok {
		n = uint32(len(t.hostRows))
		t.hostNum[h] = n
		t.hostRows = append(t.hostRows, 0)
	}
	return n
}

// torrent and client look up without adding; nil if unknown.
func (t *tables) torrent(id torrentfmt.ID) *torrent {
	if n, ok := t.torrentNum[id]; ok {
		return &t.torrents[n]
	}
	return nil
}

func (t *tables) client(a Addr) *client {
	if n, ok := t.clientNum[a]; ok {
		return &t.clients[n]
	}
	return nil
}

// get is the newest entry of a register.
func (t *tables) get(k key) (Entry, bool) {
	e := Entry{Kind: k.kind, Torrent: k.torrent, Addr: k.addr}
	var m mark
	switch k.kind {
	case KindRow:
		tor := t.torrent(k.torrent)
		c, ok := t.clientNum[k.addr]
		if tor == nil || !ok {
			return e, false
		}
		i := tor.find(c)
		if i < 0 {
			return e, false
		}
		t.fillRow(&e, tor.rows[i])
		return e, true
	case KindHome:
		c := t.client(k.addr)
		if c == nil || c.home.seq == 0 {
			return e, false
		}
		m, e.Node, e.Owner = c.home, t.nodes[c.home.node], c.owner
	case KindFloor:
		c := t.client(k.addr)
		if c == nil || c.floor == nil {
			return e, false
		}
		m = *c.floor
	case KindTorrent:
		tor := t.torrent(k.torrent)
		if tor == nil || tor.info == nil {
			return e, false
		}
		m, e.Name = tor.info.mark, tor.info.name
		e.Size, e.List = tor.info.size.split()
	}
	e.Stamp, e.Dot = m.stamp, Dot{t.origins[m.origin], m.seq}
	return e, true
}

func (t *tables) fillRow(e *Entry, r row) {
	e.Stamp, e.Whole, e.Gone = r.stamp, r.whole(), r.gone()
	e.Dot = Dot{t.origins[r.origin], r.packed >> 2}
}

// set makes e, which is no row, the newest entry of its register; it must beat
// the one there.
// What it supersedes is passed to old.
func (t *tables) set(e *Entry, origin uint32, old func(dotRef)) {
	m := mark{stamp: e.Stamp, seq: e.Dot.Seq, origin: origin}
	switch e.Kind {
	case KindHome:
		node := intern(t.nodeNum, &t.nodes, e.Node)
		_, c := t.clientOf(e.Addr)
		if c.home.seq != 0 {
			old(c.home.ref())
		}
		m.node = node
		c.home, c.owner = m, e.Owner
	case KindFloor:
		n, c := t.clientOf(e.Addr)
		if c.floor != nil {
			old(c.floor.ref())
		} else {
			t.floors++
		}
		c.floor = &m
		t.dropBelow(n, old)
	case KindTorrent:
		_, tor := t.torrentOf(e.Torrent)
		if tor.info != nil {
			old(tor.info.mark.ref())
		}
		tor.info = &info{mark: m, size: e.lengths(), name: e.Name}
	}
}

// setRow is set for a row, of a torrent and a client with these numbers; i is
// its place in the torrent's list, below 0 if it is new there.
func (t *tables) setRow(e *Entry, origin, tn, cn uint32, i int, old func(dotRef)) {
	tor, c := &t.torrents[tn], &t.clients[cn]
	if i >= 0 {
		was := tor.rows[i]
		old(was.ref())
		if !was.gone() {
			t.unlist(c, tor.id, was)
		}
	} else {
		c.torrents = append(c.torrents, tn)
		t.rows++
		t.hostRows[c.host]++
	}
	r := row{stamp: e.Stamp, packed: e.Dot.Seq<<2 | uint64(e.flags()), client: cn, origin: origin}
	tor.put(i, r)
	if !r.gone() {
		c.flip(tor.id, r.whole())
		t.mark(tor.id, c.addr, r)
		c.present++
		t.present++
	}
}

func (t *tables) unlist(c *client, id torrentfmt.ID, r row) {
	c.flip(id, r.whole())
	t.mark(id, c.addr, r)
	c.present--
	t.present--
}

// dropBelow forgets the rows that the client's floor covers.
func (t *tables) dropBelow(cn uint32, old func(dotRef)) {
	c := &t.clients[cn]
	keep := c.torrents[:0]
	for _, tn := range c.torrents {
		tor := &t.torrents[tn]
		i := tor.find(cn)
		r := tor.rows[i]
		if r.stamp >= c.floor.stamp {
			keep = append(keep, tn)
			continue
		}
		old(r.ref())
		t.dropRow(c, tor, i)
	}
	c.torrents = keep
}

// dropRow forgets a row; the client's list of torrents is the caller's.
func (t *tables) dropRow(c *client, tor *torrent, i int) {
	if r := tor.rows[i]; !r.gone() {
		t.unlist(c, tor.id, r)
	}
	tor.drop(i)
	t.rows--
	t.hostRows[c.host]--
}
