package registry

import mrand "math/rand/v2"

// Hide leaves the clients at home at the given trackers out of every answer,
// without writing anything: those trackers cannot be asked whether the clients
// are still there. It replaces what was hidden before.
func (r *Registry) Hide(homes []NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = nil // a batch may still look at what it was
	for _, n := range homes {
		if n == r.core.self.Node() {
			continue
		}
		if r.hidden == nil {
			r.hidden = map[NodeID]bool{}
		}
		r.hidden[n] = true
	}
}

func (r *Registry) hides(c *client) bool {
	return c.home.seq != 0 && r.hidden[r.core.nodes[c.home.node]]
}

// visible is Seeders while some clients are hidden: it looks at every row.
func (r *Registry) visible(dst []Seeder, tor *torrent, asker Addr, want int) (list []Seeder, total int) {
	start := len(dst)
	for _, row := range tor.rows[:tor.present] {
		c := &r.core.clients[row.client]
		if c.addr == asker || r.hides(c) {
			continue
		}
		total++
		s := c.seeder(row)
		if len(dst)-start < want {
			dst = append(dst, s)
		} else if i := mrand.IntN(total); i < want {
			dst[start+i] = s // reservoir sampling: each has the same chance
		}
	}
	return dst, total
}
