package tracker

import (
	"context"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// expire ends the rows of clients that have gone silent, until ctx ends. A
// client goes within an eighth of a lease after its lease has ended.
func (t *Tracker) expire(ctx context.Context) {
	tick := time.NewTicker(t.opts.Lease / 8)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, a := range t.reg.Silent(t.opts.Lease) {
			if ctx.Err() != nil {
				return
			}
			t.expireClient(a)
		}
	}
}

func (t *Tracker) expireClient(a registry.Addr) {
	gone := make(chan int, 1)
	t.reg.Expire(a, t.opts.Lease, func(res registry.Result, err error) {
		if err != nil {
			res.Rows = 0 // the registry tells of its failure itself
		}
		gone <- res.Rows
	})
	if n := <-gone; n > 0 {
		t.log.Info("client expired", "client", a, "torrents", n)
	}
}

const (
	// hideGrace is how much longer than a lease a home must be silent until
	// its clients are hidden: those that it served turn to another tracker
	// within seconds, and it may just be starting again.
	hideGrace = 10 * time.Second
	// hideEvery is how soon a change of that is noticed.
	hideEvery = time.Second
)

// hide keeps the clients of trackers that are gone out of the answers, until
// ctx ends. Only a home may expire its clients, so nothing is written: when it
// returns, it decides.
func (t *Tracker) hide(ctx context.Context) {
	started := time.Now()
	tick := time.NewTicker(hideEvery)
	defer tick.Stop()
	hidden := map[registry.NodeID]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		silent := t.silentHomes(started)
		changed := len(silent) != len(hidden)
		for _, n := range silent {
			if !hidden[n] {
				changed = true
				t.log.Info("clients of a silent peer tracker are hidden", "node", n)
			}
		}
		if !changed {
			continue
		}
		t.reg.Hide(silent)
		clear(hidden)
		for _, n := range silent {
			hidden[n] = true
		}
	}
}

// silentHomes are the other trackers that have been silent for a lease and
// some grace, in both directions, counted from started at the earliest.
func (t *Tracker) silentHomes(started time.Time) []registry.NodeID {
	var out []registry.NodeID
	for _, m := range t.members() {
		last := started
		open := m.Connected
		if m.LastContact.After(last) {
			last = m.LastContact
		}
		for _, addr := range t.peers.Load().addrs {
			if l, known := t.links.to(addr); known && l.node == m.Node {
				open = open || l.open
				if l.contact.After(last) {
					last = l.contact
				}
			}
		}
		if !open && time.Since(last) > t.opts.Lease+hideGrace {
			out = append(out, m.Node)
		}
	}
	return out
}
