package client

import (
	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/torrent"
)

// Observer hears what happens at a client, for whoever counts it. Each function
// may be nil, is called from many goroutines and must not block.
type Observer struct {
	Torrents torrent.Observer
	// Chose hears over what each session with a peer was made that this client
	// dialled, and FellBack of those among them that were made over another
	// transport than the first of the order in the settings.
	Chose    func(transport string)
	FellBack func(transport string)
}

// Gauges are what can be measured of a client at one moment.
type Gauges struct {
	// Sessions with peers and Streams on them that are open, by transport.
	Sessions, Streams map[string]int
	// Downloads of the library, by state, and apart from these the ones Queued
	// until fewer run.
	Downloads map[control.State]int
	Queued    int
	// Wanted is how many bytes unfinished downloads still lack.
	Wanted int64
	// Groups of trackers that the torrents name, and those of which one answers.
	Groups, Reached int
}

// Gauges measures the client. Each lock is held only while a list is copied.
func (c *Client) Gauges() Gauges {
	g := Gauges{Sessions: map[string]int{}, Streams: map[string]int{}, Downloads: map[control.State]int{}}
	for _, conn := range c.peers.connected() {
		g.Sessions[conn.Scheme()]++
		g.Streams[conn.Scheme()] += conn.Streams()
	}
	type seen struct {
		run                     *torrent.Torrent
		missing, queued, paused bool
		size                    int64
	}
	c.mu.Lock()
	items := make([]seen, 0, len(c.items))
	for _, it := range c.items {
		items = append(items, seen{it.run, it.missing, it.queued, it.entry.Paused, it.size})
	}
	groups := make([]*announce.Group, 0, len(c.groups))
	for _, group := range c.groups {
		groups = append(groups, group)
	}
	c.mu.Unlock()
	for _, it := range items {
		var st torrent.Status
		if it.run != nil {
			st = it.run.Progress()
		}
		state := stateOf(it.run, st, it.missing, it.paused)
		if state == control.Downloading || state == control.NoRoom {
			g.Wanted += it.size - st.Done
		}
		if it.queued {
			g.Queued++
			continue
		}
		g.Downloads[state]++
	}
	for _, group := range groups {
		g.Groups++
		if group.Reachable() {
			g.Reached++
		}
	}
	return g
}

// connected lists the sessions that are open, each once.
func (p *peers) connected() []*peer.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*peer.Conn, 0, len(p.byID))
	for _, conn := range p.byID {
		list = append(list, conn)
	}
	return list
}
