package tracker

import (
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// Gauges are what can be measured of a tracker at one moment.
type Gauges struct {
	// Rows that are listed, Torrents that are known, Sessions that are open.
	Rows, Torrents, Sessions int
	Peers                    []PeerGauges
}

// PeerGauges are what is known of one other tracker.
type PeerGauges struct {
	// Peer is its address as configured, or its node ID in hex where that is all
	// that is known of it.
	Peer string
	// Connected says that each of the two pulls from the other.
	Connected bool
	// Known is false for one that was never heard of; what follows is 0 then.
	Known bool
	// Behind is how many entries, of all origins, it has not acknowledged;
	// Oldest the age of the oldest of this tracker's own among them.
	Behind uint64
	Oldest time.Duration
}

// Gauges measures the tracker. It takes no lock for longer than a status does.
func (t *Tracker) Gauges() Gauges {
	stats := t.reg.Stats()
	g := Gauges{Rows: stats.Listed, Torrents: stats.Torrents, Sessions: t.doors.inside()}
	members := t.members()
	shown := map[registry.NodeID]bool{}
	for _, addr := range t.peers.Load().addrs {
		p := PeerGauges{Peer: addr}
		if l, known := t.links.to(addr); known {
			for _, m := range members {
				if m.Node == l.node {
					shown[m.Node] = true
					p.measure(m)
					p.Connected = p.Connected && l.open
				}
			}
		}
		g.Peers = append(g.Peers, p)
	}
	for _, m := range members {
		if !shown[m.Node] {
			p := PeerGauges{Peer: m.Node.String()}
			p.measure(m)
			g.Peers = append(g.Peers, p)
		}
	}
	return g
}

func (p *PeerGauges) measure(m registry.Member) {
	p.Known, p.Connected, p.Behind, p.Oldest = true, m.Connected, m.Behind, m.Oldest
}

// Alone names the other trackers that are configured and with which this one is
// not in touch.
func (t *Tracker) Alone() []string {
	var out []string
	configured := len(t.peers.Load().addrs)
	for i, p := range t.Gauges().Peers {
		if i < configured && !p.Connected {
			out = append(out, p.Peer)
		}
	}
	return out
}
