package client

import (
	"net/netip"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

const (
	// habitTime is how long a peer that was reached over another transport than
	// the first is dialled over that one first: ten minutes, as RFC 8305 (section
	// 3.1 of RFC 6555, which it replaces) has it. Then the first has its turn
	// again, since the path may have changed.
	habitTime = 10 * time.Minute
	// maxHabits bounds the memory of such peers.
	maxHabits = 10_000
)

// habits remember over which transport a peer was reached when it was not the
// first. They are bookkeeping without a clock.
type habits map[netip.AddrPort]habit

type habit struct {
	scheme string
	since  time.Time
}

// order is rows in the order in which to dial a peer.
func (h habits) order(rows transport.Table, peer netip.AddrPort, now time.Time) transport.Table {
	known, ok := h[peer]
	if !ok || now.Sub(known.since) >= habitTime {
		return rows
	}
	return rows.First(known.scheme)
}

// learn notes over what a peer was reached that rows were there for, and reports
// whether it was another than the first of them.
func (h habits) learn(rows transport.Table, peer netip.AddrPort, scheme string, now time.Time) (fellBack bool) {
	known, ok := h[peer]
	switch {
	case scheme == rows[0].Scheme:
		delete(h, peer)
		return false
	case ok && known.scheme == scheme && now.Sub(known.since) < habitTime:
		return true // the first has its turn when it was to have it
	case !ok && len(h) >= maxHabits:
		clear(h)
	}
	h[peer] = habit{scheme, now}
	return true
}
