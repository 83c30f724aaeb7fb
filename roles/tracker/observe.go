package tracker

import (
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// Observer hears what happens between a tracker and the others, for whoever
// counts it. Each function may be nil, is called from many goroutines and must
// not block. peer is the other tracker's address as configured, or its node ID
// in hex where that is all that is known of it.
type Observer struct {
	// SyncLag hears, for each commit that another tracker acknowledges, how long
	// it took from this tracker's disk to that one's.
	SyncLag func(peer string, lag time.Duration)
	// CaughtUp hears how many entries the first round of a link brought, and how
	// long it took.
	CaughtUp func(peer string, entries int, took time.Duration)
	// Repaired hears how many entries were taken from another tracker because
	// the lists differed although both accounted for the same. None is expected.
	Repaired func(peer string, entries int)
}

// observe passes on what the registry tells.
func (t *Tracker) observe() {
	if f := t.opts.Observe.SyncLag; f != nil {
		t.reg.ObserveLag(func(n registry.NodeID, lag time.Duration) { f(t.links.name(n), lag) })
	}
}

func (t *Tracker) caughtUp(peer string, entries int, took time.Duration) {
	t.log.Info("caught up with peer tracker", "peer", peer, "rows", entries, "in", took.Round(time.Microsecond))
	if f := t.opts.Observe.CaughtUp; f != nil {
		f(peer, entries, took)
	}
}

func (t *Tracker) repaired(peer string, entries int) {
	t.log.Warn("the lists differed although both trackers knew the same; repaired", "peer", peer,
		"rows", entries, "since_start", t.reg.Repaired())
	if f := t.opts.Observe.Repaired; f != nil {
		f(peer, entries)
	}
}
