package registry

import "slices"

// Gone rows and floors are dropped once they have nothing left to beat:
// docs/replication.md says when that is, and why.

// notCollecting is how many other trackers are configured as long as nobody
// has said.
const notCollecting = -1

const (
	// gatherStep bounds the torrents and clients that one look for what may be
	// dropped passes, gatherMost what it finds.
	gatherStep = 1 << 15
	gatherMost = 4000
)

// condemned is a row, or a floor, that is to be dropped.
type condemned struct {
	torrent uint32 // notTorrent: the client's floor
	client  uint32
	ref     dotRef
}

const notTorrent = 1<<32 - 1

// collector is where the search for what may be dropped stands.
type collector struct {
	passing         bool
	torrent, client int      // the next to look at
	seen            []uint64 // what was safe when the pass began
	found           []condemned
	after           uint64 // losers that must be swept before found may go
}

// safe says, by origin number, up to where every known member knows of the
// entries, and this tracker knows all that they did then. It is nil if that
// cannot be said.
func (c *core) safe() []uint64 {
	if c.peers == notCollecting {
		return nil
	}
	safe, known := slices.Clone(c.have), 0
	for _, m := range c.members {
		if m.forgotten {
			continue
		}
		known++
		if m.pending != nil && c.coversAll(m.pending) {
			m.settled, m.pending = m.pending, nil
		}
		for i, o := range c.origins {
			safe[i] = min(safe[i], m.settled[o])
		}
	}
	if known < c.peers {
		return nil
	}
	return safe
}

// gather looks for what may be dropped, if the last search's finds are done
// with.
func (c *core) gather() {
	g := &c.gc
	if len(g.found) > 0 || c.rows == c.present && c.floors == 0 {
		return
	}
	safe := c.safe()
	if safe == nil || !g.passing && slices.Equal(safe, g.seen) {
		return
	}
	if !g.passing {
		*g = collector{passing: true, seen: safe}
	}
	steps := 0
	for ; g.torrent < len(c.torrents) && steps < gatherStep; steps++ {
		tor := &c.torrents[g.torrent]
		for _, r := range tor.rows[tor.present:] {
			if d := r.ref(); d.seq <= safe[d.origin] {
				g.found = append(g.found, condemned{uint32(g.torrent), r.client, d})
			}
			if len(g.found) == gatherMost {
				g.after = c.losers
				return // and look at this torrent again
			}
		}
		g.torrent++
	}
	for ; g.torrent == len(c.torrents) && g.client < len(c.clients) && steps < gatherStep && len(g.found) < gatherMost; steps++ {
		if f := c.clients[g.client].floor; f != nil && f.seq <= safe[f.origin] {
			g.found = append(g.found, condemned{notTorrent, uint32(g.client), f.ref()})
		}
		g.client++
	}
	g.passing = g.torrent < len(c.torrents) || g.client < len(c.clients)
	g.after = c.losers
}

// collect plans to drop what was found, if everything that it shadowed has
// been swept: otherwise a loser that is still in the file would be back after
// a restart. Nothing else may be in the batch, and no scan open when it is
// introduced.
func (b *batch) collect() {
	g := &b.c.gc
	if len(g.found) == 0 || b.c.swept < g.after {
		return
	}
	found := g.found
	g.found = nil
	safe := b.c.safe() // again: a member may have come back older, or be new
	for _, d := range found {
		switch {
		case !b.c.current(d):
		case int(d.ref.origin) < len(safe) && d.ref.seq <= safe[d.ref.origin]:
			b.drops = append(b.drops, d)
		default:
			g.seen = nil // it will be safe again, and must be found again
		}
	}
}

// current reports whether d is still what stands there, and says that
// something is gone.
func (c *core) current(d condemned) bool {
	if d.torrent == notTorrent {
		f := c.clients[d.client].floor
		return f != nil && f.ref() == d.ref
	}
	tor := &c.torrents[d.torrent]
	i := tor.find(d.client)
	return i >= 0 && tor.rows[i].gone() && tor.rows[i].ref() == d.ref
}

// raise notes what the batch drops before it does: a scan that begins from now
// on must not take the absence of these for never having been.
func (c *core) raise(b *batch) {
	for _, d := range b.drops {
		c.dropped[d.ref.origin] = max(c.dropped[d.ref.origin], d.ref.seq)
	}
	for o, seq := range b.raises {
		n := c.number(o)
		c.dropped[n] = max(c.dropped[n], seq)
	}
}

// remove takes what the batch drops, which the file no longer has, out of the
// tables.
func (c *core) remove(drops []condemned) {
	touched := map[uint32]bool{}
	for _, d := range drops {
		cl := &c.clients[d.client]
		if d.torrent == notTorrent {
			if cl.floor != nil && cl.floor.ref() == d.ref {
				cl.floor = nil
				c.floors--
			}
			continue
		}
		tor := &c.torrents[d.torrent]
		if i := tor.find(d.client); i >= 0 && tor.rows[i].ref() == d.ref {
			c.dropRow(cl, tor, i)
			touched[d.client] = true
		}
	}
	for cn := range touched {
		cl := &c.clients[cn]
		cl.torrents = slices.DeleteFunc(cl.torrents, func(tn uint32) bool { return c.torrents[tn].find(cn) < 0 })
	}
}

func (c *core) droppedVector() Vector {
	v := Vector{}
	for n, seq := range c.dropped {
		if seq > 0 {
			v[c.origins[n]] = seq
		}
	}
	return v
}

// lacksDropped reports whether one with vector v may hold what something that
// was dropped here has beaten.
func (c *core) lacksDropped(v Vector) bool {
	for n, seq := range c.dropped {
		if v[c.origins[n]] < seq {
			return true
		}
	}
	return false
}
