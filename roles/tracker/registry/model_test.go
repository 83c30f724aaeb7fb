package registry

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
	"pgregory.net/rapid"
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
}

func (d *disk) clone() *disk {
	c := *d
	c.origins, c.vector, c.entries = slices.Clone(d.origins), slices.Clone(d.vector), maps.Clone(d.entries)
	c.dropped, c.members = slices.Clone(d.dropped), maps.Clone(d.members)
	return &c
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

func (n *node) plan() *batch { return n.begin(n.wall, 0) }

func (n *node) commit(b *batch) {
	n.introduce(b)
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

// transfer is one Pull stream's round under way.
type transfer struct {
	to, from *node
	scan     *scan
	origins  []Origin
	had      Vector
	given    bool      // the scan has ended
	flight   []message // given, and not taken yet
	seen     seen      // of a full walk
}

type message struct {
	entries []Entry
	end     bool
	upto    Vector
	dropped Vector
}

// give moves on the giver's side.
func (x *transfer) give(t interface{ Fatal(...any) }, limit int) {
	entries, err := x.scan.step(x.from.disk, x.origins, limit)
	if err != nil {
		t.Fatal(err)
	}
	m := message{entries: entries, end: len(entries) == 0}
	if m.end {
		m.upto, m.dropped = x.scan.upto, x.scan.dropped
		x.release()
	}
	x.flight = append(x.flight, m)
}

func (x *transfer) release() {
	if !x.given {
		x.given = true
		x.from.pins--
	}
}

// take plans what the next message brings; false if it must wait.
func (x *transfer) take(b *batch) (done, ok bool, err error) {
	m := x.flight[0]
	full := x.scan.full
	if m.end && full && x.to.pins > 0 {
		return false, false, nil
	}
	x.flight = x.flight[1:]
	switch {
	case full && m.end:
		x.to.sweep()
		return true, true, b.reconcile(x.seen, Vector{}.SpansTo(m.upto), m.dropped)
	case m.end:
		return true, true, b.adopt(x.had.SpansTo(m.upto))
	case full:
		x.seen.add(m.entries)
		for _, e := range m.entries {
			b.mergeFull(e)
		}
	default:
		for _, e := range m.entries {
			b.merge(e)
		}
	}
	return false, true, nil
}

// connect begins a transfer; the giver hears the puller's vector.
func connect(to, from *node) *transfer {
	had := to.vector()
	from.hear(to.self.Node(), had)
	to.hear(from.self.Node(), nil)
	from.pins++
	return &transfer{to: to, from: from, scan: from.newScan(had), origins: slices.Clone(from.origins), had: had, seen: seen{}}
}

// user is a simulated client: it talks to one tracker at a time, echoes the
// newest stamp it was given, and knows what it shares.
type user struct {
	addr Addr
	at   *node
	echo Stamp
	has  map[torrentfmt.ID]bool // to whether whole
	// strayed is set from when it turned to another tracker without a
	// renewal until the next: its rows may be expired by where it was before.
	strayed bool
	sure    bool // every request since the last settling was answered, and it was not expired
}

func (u *user) digest() (int, [sha1.Size]byte) {
	var sum [sha1.Size]byte
	for id, whole := range u.has {
		d := rowDigest(id, whole)
		for i := range sum {
			sum[i] ^= d[i]
		}
	}
	return len(u.has), sum
}

type world struct {
	t         *rapid.T
	nodes     []*node
	users     []*user
	transfers []*transfer
	reports   []heard
	written   map[Dot]Entry // every durable entry ever
	gone      map[key]Entry // the newest dropped of each register
	// orphans are the entries that the collection's argument does not reach,
	// after a disk was set back: those of which the writer no longer knows, and
	// what it writes below something that it had known and others have dropped.
	orphans  map[Dot]bool
	cut      map[[2]*node]bool
	restored bool
}

// heard is a report on its way.
type heard struct {
	to   *node
	from NodeID
	have Vector
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, written: map[Dot]Entry{}, gone: map[key]Entry{}, orphans: map[Dot]bool{}, cut: map[[2]*node]bool{}}
	count := rapid.SampledFrom([]int{2, 2, 2, 3, 3, 4, 5}).Draw(t, "trackers")
	for i := range count {
		n := newNode(i)
		n.peers = count - 1
		n.core.peers = n.peers
		w.nodes = append(w.nodes, n)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "clients") {
		var a Addr
		a[17] = byte(i + 1)
		w.users = append(w.users, &user{addr: a, at: w.nodes[0], has: map[torrentfmt.ID]bool{}, sure: true})
	}
	return w
}

func (w *world) node(name string) *node { return rapid.SampledFrom(w.nodes).Draw(w.t, name) }
func (w *world) user() *user            { return rapid.SampledFrom(w.users).Draw(w.t, "client") }

func (w *world) torrent() torrentfmt.ID {
	return torrentfmt.ID{byte(rapid.IntRange(1, 3).Draw(w.t, "torrent"))}
}

// request runs one request at n. Either it is answered, or n dies on it:
// before its commit or after.
func (w *world) request(u *user, n *node, f func(*batch) Result) (Result, bool) {
	b := n.plan()
	res := f(b)
	switch rapid.IntRange(0, 59).Draw(w.t, "fate") {
	case 0:
		u.sure = false
		w.crash(n)
		return res, false
	case 1:
		u.sure = false
		w.commit(n, b)
		w.crash(n)
		return res, false
	}
	w.commit(n, b)
	u.echo = max(u.echo, res.Stamp)
	return res, true
}

func (w *world) commit(n *node, b *batch) {
	for _, e := range b.puts {
		if _, again := w.written[e.Dot]; !again && w.restored && w.beaten(&e) {
			w.orphans[e.Dot] = true
		}
		w.written[e.Dot] = e
	}
	for _, d := range b.drops {
		if e, ok := w.written[Dot{n.origins[d.ref.origin], d.ref.seq}]; ok {
			if old, ok := w.gone[e.key()]; !ok || e.beats(&old) {
				w.gone[e.key()] = e
			}
		}
	}
	n.commit(b)
}

func (w *world) crash(n *node) {
	w.transfers = slices.DeleteFunc(w.transfers, func(x *transfer) bool {
		if x.from != n && x.to != n {
			return false
		}
		x.release()
		return true
	})
	w.reports = slices.DeleteFunc(w.reports, func(h heard) bool { return h.to == n })
	n.start()
}

// visit makes n the tracker that u talks to. A client that fails over renews
// first; one that does not must hold out until its next renewal.
func (w *world) visit(u *user, n *node) bool {
	if u.at == n && u.sure {
		return true
	}
	u.at = n
	if rapid.IntRange(0, 3).Draw(w.t, "strays") == 0 {
		u.strayed = true
		return true
	}
	return w.renew(u)
}

func (w *world) renew(u *user) bool {
	count, digest := u.digest()
	for range 3 {
		res, ok := w.request(u, u.at, func(b *batch) Result { return b.renew(u.addr, count, digest, u.echo) })
		if !ok {
			return false
		}
		if res.Outcome == Done {
			u.strayed = false
			return true
		}
		for id, whole := range u.has {
			if _, ok := w.announce(u, u.at, id, whole); !ok {
				return false
			}
		}
	}
	w.t.Fatalf("client %v renews for ever", u.addr)
	return false
}

func (w *world) announce(u *user, n *node, id torrentfmt.ID, whole bool) (Result, bool) {
	return w.request(u, n, func(b *batch) Result {
		return b.announce(u.addr, id, whole, u.echo, &Info{Name: fmt.Sprint("name", id[0]), Size: 1})
	})
}

func (w *world) announceAction(t *rapid.T) {
	w.t = t
	u, n, id := w.user(), w.node("tracker"), w.torrent()
	whole := rapid.Bool().Draw(t, "whole")
	if !w.visit(u, n) {
		return
	}
	u.has[id] = whole // what the client wants, answered or not
	w.announce(u, n, id, whole)
}

func (w *world) removeAction(t *rapid.T) {
	w.t = t
	u, n, id := w.user(), w.node("tracker"), w.torrent()
	if !w.visit(u, n) {
		return
	}
	delete(u.has, id)
	w.request(u, n, func(b *batch) Result { return b.remove(u.addr, id, u.echo) })
}

func (w *world) leaveAction(t *rapid.T) {
	w.t = t
	u, n := w.user(), w.node("tracker")
	clear(u.has)
	u.at = n
	w.request(u, n, func(b *batch) Result { return b.leave(u.addr, u.echo) })
}

func (w *world) renewAction(t *rapid.T) {
	w.t = t
	u := w.user()
	u.at = w.node("tracker")
	w.renew(u)
}

// expireAction lets a tracker find a client silent. That is its right only at
// the client's own tracker; a former home must do no harm.
func (w *world) expireAction(t *rapid.T) {
	w.t = t
	u, n := w.user(), w.node("tracker")
	b := n.plan()
	if res := b.expire(u.addr, 0); res.Rows > 0 && (n == u.at || u.strayed) {
		u.sure = false
	}
	w.commit(n, b)
}

func (w *world) crashAction(t *rapid.T) {
	w.t = t
	w.crash(w.node("tracker"))
}

func (w *world) backupAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	n.backup = n.disk.clone()
}

// restoreAction puts a tracker back onto an old disk, perhaps not for the first
// time. A client of which something is now known nowhere is in doubt.
func (w *world) restoreAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	if n.backup == nil {
		t.Skip()
	}
	w.restored = true
	before := n.core
	n.disk = n.backup.clone()
	w.crash(n)
	for _, u := range w.users {
		u.sure = u.sure && w.kept(before, u.addr)
	}
	w.orphan()
}

// beaten reports whether something newer than the row was ever written.
func (w *world) beaten(r *Entry) bool {
	for _, e := range w.written {
		if r.Kind == KindRow && (e.key() == r.key() && e.beats(r) || e.Kind == KindFloor && e.Addr == r.Addr && r.Stamp < e.Stamp) {
			return true
		}
	}
	return false
}

// orphan notes the entries that no vector covers, since their writer was set
// back behind them. Half transfers, messages under way and other backups may
// still hold them, and nobody can tell them from news.
func (w *world) orphan() {
	for d := range w.written {
		if !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.covers(d) }) {
			w.orphans[d] = true
		}
	}
}

// kept reports whether some tracker still has what was known of a client, or
// something newer.
func (w *world) kept(c *core, a Addr) bool {
	keys := []key{{kind: KindHome, addr: a}, {kind: KindFloor, addr: a}}
	for i := range byte(4) {
		keys = append(keys, key{kind: KindRow, torrent: torrentfmt.ID{i}, addr: a})
	}
	for _, k := range keys {
		e, ok := c.get(k)
		if ok && !slices.ContainsFunc(w.nodes, func(n *node) bool {
			cur, ok := n.get(k)
			return n.belowFloor(&e) || ok && (cur.Dot == e.Dot || cur.beats(&e))
		}) {
			return false
		}
	}
	return true
}

func (w *world) sweepAction(t *rapid.T) {
	w.t = t
	w.node("tracker").sweep()
}

func (w *world) clockAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	// Never more than a day apart: echoes from further than MaxEcho do not count.
	n.wall = noon + rapid.SampledFrom([]int64{-43_200_000, -3_600_000, 0, 1, 3_600_000, 43_200_000}).Draw(t, "jump")
}

func (w *world) connect(to, from *node) *transfer {
	x := connect(to, from)
	w.transfers = append(w.transfers, x)
	return x
}

func (w *world) connectAction(t *rapid.T) {
	w.t = t
	to, from := w.node("puller"), w.node("giver")
	if to == from || len(w.transfers) > 4 || w.cut[[2]*node{from, to}] {
		t.Skip()
	}
	w.connect(to, from)
}

// take moves the next message in, and in the end the vector.
func (w *world) take(x *transfer) (done bool) {
	b := x.to.plan()
	done, ok, err := x.take(b)
	if err != nil {
		w.t.Fatal(err)
	}
	if ok {
		w.commit(x.to, b)
	}
	return done
}

func (w *world) drop(x *transfer) {
	x.release()
	w.transfers = slices.DeleteFunc(w.transfers, func(y *transfer) bool { return x == y })
}

func (w *world) stepAction(t *rapid.T) {
	w.t = t
	if len(w.transfers) == 0 {
		t.Skip()
	}
	x := rapid.SampledFrom(w.transfers).Draw(t, "transfer")
	give := !x.given && (len(x.flight) == 0 || rapid.Bool().Draw(t, "give"))
	if give {
		x.give(t, rapid.IntRange(1, 4).Draw(t, "limit"))
	}
	if !give || rapid.Bool().Draw(t, "take") {
		if w.take(x) {
			w.drop(x)
		}
	}
}

// runAction takes a transfer to its end.
func (w *world) runAction(t *rapid.T) {
	w.t = t
	if len(w.transfers) == 0 {
		t.Skip()
	}
	x := rapid.SampledFrom(w.transfers).Draw(t, "transfer")
	for !x.given {
		x.give(t, 4)
	}
	for len(x.flight) > 0 {
		if x.flight[0].end && x.scan.full && x.to.pins > 0 {
			return
		}
		w.take(x)
	}
	w.drop(x)
}

func (w *world) cutAction(t *rapid.T) {
	w.t = t
	if len(w.transfers) == 0 {
		t.Skip()
	}
	w.drop(rapid.SampledFrom(w.transfers).Draw(t, "transfer"))
}

// partitionAction cuts or mends one direction.
func (w *world) partitionAction(t *rapid.T) {
	w.t = t
	d := [2]*node{w.node("from"), w.node("to")}
	w.cut[d] = !w.cut[d]
	if !w.cut[d] {
		return
	}
	for _, x := range slices.Clone(w.transfers) {
		if x.from == d[0] && x.to == d[1] {
			w.drop(x)
		}
	}
}

// reportAction sends a vector; hearAction lets some report, old or new,
// arrive, perhaps not for the last time.
func (w *world) reportAction(t *rapid.T) {
	w.t = t
	from, to := w.node("from"), w.node("to")
	if from == to || w.cut[[2]*node{from, to}] {
		t.Skip()
	}
	w.reports = append(w.reports, heard{to, from.self.Node(), from.vector()})
}

func (w *world) hearAction(t *rapid.T) {
	w.t = t
	if len(w.reports) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(w.reports)-1).Draw(t, "report")
	h := w.reports[i]
	h.to.hear(h.from, h.have)
	if rapid.Bool().Draw(t, "once") {
		w.reports = slices.Delete(w.reports, i, i+1)
	}
}

// exchangeAction is what happens when all is well: two trackers in step tell
// each other so.
func (w *world) exchangeAction(t *rapid.T) {
	w.t = t
	w.exchange()
}

func (w *world) exchange() {
	for _, from := range w.nodes {
		for _, to := range w.nodes {
			if from != to && !w.cut[[2]*node{from, to}] {
				to.hear(from.self.Node(), from.vector())
			}
		}
	}
}

func (w *world) syncAction(t *rapid.T) {
	w.t = t
	for _, to := range w.nodes {
		for _, from := range w.nodes {
			if to != from && !w.cut[[2]*node{from, to}] {
				w.pull(to, from)
			}
		}
	}
}

// pull is a whole round, unless the puller is just being read itself.
func (w *world) pull(to, from *node) {
	x := w.connect(to, from)
	for done := false; !done; {
		x.give(w.t, 3)
		if x.flight[0].end && x.scan.full && to.pins > 0 {
			break
		}
		done = w.take(x)
	}
	w.drop(x)
}

// quietAction is a quiet while: everybody who can be reached is in step, and
// what may be dropped goes.
func (w *world) quietAction(t *rapid.T) {
	w.t = t
	w.syncAction(t)
	w.settle()
}

func (w *world) tidyAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	w.commit(n, n.tidy())
}

// claims checks what vectors claim: of every register a tracker lists nothing
// older than what its vector covers, it holds the newest of what nobody has
// dropped, and nothing that may still come will be listed wrongly. Only
// orphans are listed all the same, until their client's next renewal.
func (w *world) claims(t *rapid.T) {
	for i, n := range w.nodes {
		for d, e := range w.written {
			if n.covers(d) {
				cur, wrong := n.listsBeaten(&e)
				switch {
				case !wrong:
					w.holds(t, i, &e)
				case w.orphans[cur.Dot]:
					w.doubt(e.Addr)
				default:
					t.Fatalf("tracker %d covers %+v but lists %+v", i, e, cur)
				}
			} else if e.Kind == KindRow && !e.Gone && !w.restored && w.wouldList(n, &e) {
				t.Fatalf("tracker %d would list %+v, which is beaten by what it has dropped", i, e)
			}
		}
	}
}

func (w *world) doubt(a Addr) {
	for _, u := range w.users {
		if u.addr == a {
			u.sure = false
		}
	}
}

// listsBeaten finds a listed row that e has ended or replaced.
func (n *node) listsBeaten(e *Entry) (cur Entry, wrong bool) {
	switch e.Kind {
	case KindRow:
		cur, ok := n.get(e.key())
		return cur, ok && !cur.Gone && e.beats(&cur)
	case KindFloor:
		if c := n.client(e.Addr); c != nil {
			for _, tn := range c.torrents {
				cur, _ = n.get(key{kind: KindRow, torrent: n.torrents[tn].id, addr: e.Addr})
				if !cur.Gone && cur.Stamp < e.Stamp {
					return cur, true
				}
			}
		}
	}
	return cur, false
}

// holds checks that what stands in the register of e, which the tracker's
// vector covers, is e or something newer, and on the disk. Where something newer
// was dropped, nothing need be there. What may be there all the same is an
// older gone row or floor, if no vector covered it and a backup brought it back:
// it lists nothing, and what it ends had been ended by what was dropped.
func (w *world) holds(t *rapid.T, i int, e *Entry) {
	n := w.nodes[i]
	if n.belowFloor(e) {
		return
	}
	cur, ok := n.get(e.key())
	if !ok || cur.Gone || cur.Kind == KindFloor {
		if g, dropped := w.gone[e.key()]; dropped && !e.beats(&g) || w.floored(e) {
			return
		}
	}
	if !ok || e.beats(&cur) {
		t.Fatalf("tracker %d covers %+v but holds %+v", i, *e, cur)
	}
	ref := dotRef{n.originNum[cur.Dot.Origin], cur.Dot.Seq}
	if _, ok := n.disk.entries[ref]; !ok {
		t.Fatalf("tracker %d shows %+v, which is not on its disk", i, cur)
	}
}

// wouldList reports whether a row that the tracker does not cover would be
// listed if it came, although the tracker covered what beats it.
func (w *world) wouldList(n *node, r *Entry) bool {
	if cur, ok := n.get(r.key()); ok && !r.beats(&cur) || n.belowFloor(r) {
		return false
	}
	g, ok := w.gone[r.key()]
	f, floored := w.gone[key{kind: KindFloor, addr: r.Addr}]
	return ok && n.covers(g.Dot) && g.beats(r) || floored && n.covers(f.Dot) && r.Stamp < f.Stamp
}

// floored reports whether a floor above the row was dropped.
func (w *world) floored(e *Entry) bool {
	g, ok := w.gone[key{kind: KindFloor, addr: e.Addr}]
	return ok && e.Kind == KindRow && e.Stamp < g.Stamp
}

func (w *world) heal() {
	for len(w.transfers) > 0 {
		w.drop(w.transfers[0])
	}
	clear(w.cut)
	w.reports = nil
	for range 2 {
		for _, to := range w.nodes {
			for _, from := range w.nodes {
				if to == from {
					continue
				}
				w.pull(to, from)
				to.sweep()
			}
		}
	}
}

// settle lets everything that may be dropped go.
func (w *world) settle() {
	for range 3 {
		w.exchange()
		for _, n := range w.nodes {
			for range 2 {
				n.sweep()
				w.commit(n, n.tidy())
			}
		}
	}
}

// idle checks that nothing gone is left once all know of it. Only what came
// with half a transfer, and whose writer has been set back behind it, is covered
// by nobody, and stays.
func (w *world) idle() {
	for i, n := range w.nodes {
		kept := 0
		for ref, e := range n.disk.entries {
			if !e.Gone && e.Kind != KindFloor {
				continue
			}
			kept++
			if !w.restored || ref.seq <= n.have[ref.origin] {
				w.t.Fatalf("tracker %d keeps %+v", i, e)
			}
		}
		if got := len(n.disk.entries) - kept; got != n.present+n.homes()+n.names() {
			w.t.Fatalf("tracker %d stores %d entries for %d rows, %d homes, %d names", i, got, n.present, n.homes(), n.names())
		}
	}
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

func (w *world) expect(only func(*user) bool) []string {
	var out []string
	for _, u := range w.users {
		if only(u) {
			for id, whole := range u.has {
				out = append(out, fmt.Sprintf("%v %v whole=%v", id[0], u.addr[17], whole))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) agree(stage string) {
	for _, n := range w.nodes[1:] {
		if a, b := w.nodes[0].listed(), n.listed(); !slices.Equal(a, b) {
			w.t.Fatalf("%s: lists differ: %q and %q", stage, a, b)
		}
		if a, b := w.nodes[0].vector(), n.vector(); !a.CoversAll(b) || !b.CoversAll(a) {
			w.t.Fatalf("%s: vectors differ: %v and %v", stage, a, b)
		}
	}
}

// TestTrackersConverge runs random schedules of requests, cuts, crashes and
// clock jumps against two or three trackers. Whatever happened, once they can
// talk they agree; what a client was told is so; and a client that was in
// doubt is right after its next renewal.
func TestTrackersConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		// Most schedules do without, or nobody would be sure of anything.
		restore := func(t *rapid.T) { t.Skip() }
		if rapid.IntRange(0, 2).Draw(t, "restores") == 0 {
			restore = w.restoreAction
		}
		t.Repeat(map[string]func(*rapid.T){
			"announce":  w.announceAction,
			"announce2": w.announceAction,
			"remove":    w.removeAction,
			"leave":     w.leaveAction,
			"renew":     w.renewAction,
			"expire":    w.expireAction,
			"crash":     w.crashAction,
			"sweep":     w.sweepAction,
			"backup":    w.backupAction,
			"restore":   restore,
			"clock":     w.clockAction,
			"connect":   w.connectAction,
			"step":      w.stepAction,
			"step2":     w.stepAction,
			"run":       w.runAction,
			"cut":       w.cutAction,
			"partition": w.partitionAction,
			"report":    w.reportAction,
			"hear":      w.hearAction,
			"exchange":  w.exchangeAction,
			"sync":      w.syncAction,
			"tidy":      w.tidyAction,
			"quiet":     w.quietAction,
			"":          w.claims,
		})
		w.t = t
		w.heal()
		w.claims(t)
		w.agree("healed")
		w.settle()
		w.idle()
		w.agree("settled")
		sure := func(u *user) bool { return u.sure }
		got := slices.DeleteFunc(w.nodes[0].listed(), func(s string) bool {
			return !slices.ContainsFunc(w.users, func(u *user) bool {
				return u.sure && s[2:3] == fmt.Sprint(u.addr[17])
			})
		})
		if want := w.expect(sure); !slices.Equal(got, want) {
			t.Fatalf("healed: listed %q, acknowledged %q", got, want)
		}
		for _, u := range w.users {
			u.sure = false
			for !u.sure {
				u.sure = true
				w.renew(u)
			}
		}
		w.heal()
		w.settle()
		w.claims(t)
		w.agree("renewed")
		if got, want := w.nodes[0].listed(), w.expect(func(*user) bool { return true }); !slices.Equal(got, want) {
			t.Fatalf("renewed: listed %q, shared %q", got, want)
		}
	})
}
