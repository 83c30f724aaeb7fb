package tracker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/admin"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// Status tells how the tracker and its links with the others are: first those
// that are configured, then others that are members still.
func (t *Tracker) Status() admin.Status {
	stats := t.reg.Stats()
	s := admin.Status{
		Node:     t.reg.NodeID().String(),
		Addr:     t.own().String(),
		Torrents: stats.Torrents,
		Seeders:  stats.Listed,
		Sessions: t.doors.inside(),
		Repaired: t.reg.Repaired(),
		Trackers: []admin.Tracker{},
	}
	members := t.members()
	shown := map[registry.NodeID]bool{}
	for _, addr := range t.peers.Load().addrs {
		x := admin.Tracker{Addr: addr}
		if l, known := t.links.to(addr); known {
			x.Node, x.Connected = l.node.String(), l.open
			heardAt(&x, l.contact)
			shown[l.node] = true
			for _, m := range members {
				if m.Node == l.node {
					describe(&x, m)
				}
			}
		}
		s.Trackers = append(s.Trackers, x)
	}
	for _, m := range members {
		if !shown[m.Node] {
			x := admin.Tracker{Node: m.Node.String()}
			describe(&x, m)
			s.Trackers = append(s.Trackers, x)
		}
	}
	return s
}

// members are the other trackers that count.
func (t *Tracker) members() []registry.Member {
	var out []registry.Member
	for _, m := range t.reg.Members() {
		if !m.Forgotten {
			out = append(out, m)
		}
	}
	return out
}

func heardAt(x *admin.Tracker, at time.Time) {
	if !at.IsZero() && (x.LastContact == nil || at.After(*x.LastContact)) {
		at = at.UTC()
		x.LastContact = &at
	}
}

func describe(x *admin.Tracker, m registry.Member) {
	x.Following = m.Connected
	heardAt(x, m.LastContact)
	if m.LastContact.IsZero() { // not since this tracker started
		return
	}
	behind, lag := m.Behind, max(m.Lag, m.Oldest).Seconds()
	x.RowsBehind, x.Lag = &behind, &lag
}

// leastPrefix is how many hex digits of a tracker's ID name it, if no other
// begins with them.
const leastPrefix = 8

// Forget has another tracker, named by its ID or the beginning of that, no
// longer count: what is gone is not kept for it, and its clients expire here.
// One that is connected is refused.
func (t *Tracker) Forget(ctx context.Context, node string) error {
	node = strings.ToLower(node)
	if len(node) < leastPrefix {
		return fmt.Errorf("%w: %q: give at least %d digits", admin.ErrUnknown, node, leastPrefix)
	}
	var found *registry.Member
	for _, m := range t.members() {
		if strings.HasPrefix(m.Node.String(), node) {
			if found != nil {
				return fmt.Errorf("%q begins the IDs of several trackers: give more of it", node)
			}
			found = &m
		}
	}
	if found == nil {
		return fmt.Errorf("%w: %s", admin.ErrUnknown, node)
	}
	if found.Connected {
		return errors.New("it is connected: stop it first, and take it out of the others' settings")
	}
	done := make(chan error, 1)
	t.reg.Forget(found.Node, func(_ bool, err error) { done <- err })
	select {
	case err := <-done:
		if err == nil {
			t.log.Info("peer tracker forgotten", "node", found.Node)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Busiest lists up to n torrents, those for which most are listed first.
func (t *Tracker) Busiest(n int) []registry.Standing { return t.reg.Busiest(n) }
