package tracker

import (
	"net/netip"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// What strangers may take of a tracker. Further bounds stand where they act:
// maxPipelined, messageTimeout, helloTimeout, hashRate, registry.MaxTorrents,
// registry.MaxHostRows.
const (
	// maxSessions bounds the sessions of one tracker: each costs some ten KiB
	// and a few goroutines.
	maxSessions = 20_000
	// maxSessionsPerIP leaves room for a large lab behind one address.
	maxSessionsPerIP = 4_096
	// maxStreams bounds the streams that one session has open: a client needs
	// one.
	maxStreams = 16
	// maxAddresses bounds the addresses that one session speaks for: a client
	// has one, or one for each of its IP versions.
	maxAddresses = 8

	// Hash strings are what fills the disk, and a torrent stays known for
	// good. So each source may bring hashBurst bytes of them at once, more
	// than the largest torrent has, and hashRefill bytes a second after that;
	// each torrent counts as torrentCost more. Who comes with a larger library
	// is asked to come again for the rest.
	hashBurst   = 128 << 20
	hashRefill  = 64 << 10
	torrentCost = 1 << 10
	// maxSources bounds the sources that are remembered for that.
	maxSources = 100_000

	// A self-check asks a few times, and may have this tracker dial its host.
	// Each source may ask probeBurst times at once, and probeRefill times a
	// second after that; maxDialBacks bounds the dials under way for all.
	probeBurst   = 20
	probeRefill  = 1
	maxDialBacks = 16
)

// limits are the bounds that tests make smaller.
type limits struct {
	sessions      int
	sessionsPerIP int
	hashBurst     float64
	probeBurst    float64
}

var defaultLimits = limits{
	sessions:      maxSessions,
	sessionsPerIP: maxSessionsPerIP,
	hashBurst:     hashBurst,
	probeBurst:    probeBurst,
}

// sourceOf is who is counted as one stranger: an IPv4 address, or the network
// of an IPv6 address that one subscriber has (RFC 6177).
func sourceOf(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return p.Addr()
}

// allowance gives each source so much of something, bytes of hash strings for
// instance: a token bucket each.
type allowance struct {
	burst, refill float64 // at once, and a second after that

	mu sync.Mutex
	by map[netip.Addr]bucket
}

// bucket is what a source had left at a moment.
type bucket struct {
	left float64
	at   time.Time
}

// after is what a source has left at a later moment.
func (a *allowance) after(b bucket, now time.Time) float64 {
	return min(a.burst, b.left+now.Sub(b.at).Seconds()*a.refill)
}

// take takes n bytes of a source's allowance, or nothing.
func (a *allowance) take(source netip.Addr, n int64, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[netip.Addr]bucket{}
	}
	left := a.burst
	if b, ok := a.by[source]; ok {
		left = a.after(b, now)
	} else if len(a.by) >= maxSources {
		a.prune(now)
	}
	if left < float64(n) {
		return false
	}
	a.by[source] = bucket{left - float64(n), now}
	return true
}

// prune forgets the sources that have their whole allowance back. If those are
// few it forgets all: to refuse everybody, or to look again at each request,
// would be worse.
func (a *allowance) prune(now time.Time) {
	for s, b := range a.by {
		if a.after(b, now) >= a.burst {
			delete(a.by, s)
		}
	}
	if len(a.by) > maxSources/2 {
		clear(a.by)
	}
}

// doors counts sessions by source.
type doors struct {
	limits *limits

	mu    sync.Mutex
	total int
	by    map[netip.Addr]int
	told  time.Time // when one that was turned away was last told of
}

// enter lets a session in, and another tracker even when strangers have taken
// all places.
func (d *doors) enter(source netip.Addr, peer func() bool) bool {
	d.mu.Lock()
	full := d.total >= d.limits.sessions || d.by[source] >= d.limits.sessionsPerIP
	d.mu.Unlock()
	if full && !peer() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[netip.Addr]int{}
	}
	d.total++
	d.by[source]++
	return true
}

func (d *doors) leave(source netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total--
	if d.by[source]--; d.by[source] == 0 {
		delete(d.by, source)
	}
}

func (d *doors) inside() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}

// turnedAway tells who misbehaved, at most once a second, since a stranger
// decides how often.
func (t *Tracker) turnedAway(sess transport.Session, why string) {
	t.doors.mu.Lock()
	defer t.doors.mu.Unlock()
	if now := time.Now(); now.Sub(t.doors.told) >= time.Second {
		t.doors.told = now
		t.log.Warn("session ended by the tracker", "from", sess.RemoteAddr(), "why", why)
	}
}
