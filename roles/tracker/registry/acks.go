package registry

import (
	"sync"
	"time"
)

// acks knows how far the other trackers have acknowledged what was written
// here. All times are of this process's monotonic clock.
type acks struct {
	mu      sync.Mutex
	self    Origin
	commits []commitMark // ascending, since the registry was opened
	members map[NodeID]*acker
	waiting []ackWait // in the order of the calls
	observe func(NodeID, time.Duration)
}

// commitMark says when the own entries up to seq became durable.
type commitMark struct {
	seq uint64
	at  time.Time
}

// maxCommits bounds the marks. When there are more, each two become one that
// has the time of the older, so that no age is understated.
const maxCommits = 4096

type acker struct {
	streams int  // attached
	inStep  bool // has acknowledged a round since it attached
	vector  Vector
	contact time.Time
	lag     time.Duration
}

type ackWait struct {
	seq uint64
	f   func()
}

func newAcks(self Origin) *acks { return &acks{self: self, members: map[NodeID]*acker{}} }

func (a *acks) committed(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.commits); n > 0 && a.commits[n-1].seq >= seq {
		return
	}
	a.commits = append(a.commits, commitMark{seq, time.Now()})
	if len(a.commits) < maxCommits {
		return
	}
	half := a.commits[:0]
	for i := 0; i+1 < maxCommits; i += 2 {
		half = append(half, commitMark{a.commits[i+1].seq, a.commits[i].at})
	}
	a.commits = half
}

func (a *acks) memberOf(n NodeID) *acker {
	m := a.members[n]
	if m == nil {
		m = new(acker)
		a.members[n] = m
	}
	return m
}

// attach notes that a member with vector v pulls.
func (a *acks) attach(n NodeID, v Vector) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.memberOf(n)
	m.streams++
	m.inStep = false
	m.vector, m.contact = v.Clone(), time.Now()
}

func (a *acks) detach(n NodeID) {
	a.mu.Lock()
	m := a.memberOf(n)
	if m.streams--; m.streams == 0 {
		m.inStep = false
	}
	ready := a.ready()
	a.mu.Unlock()
	for _, w := range ready {
		w.f()
	}
}

func (a *acks) heard(n NodeID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.memberOf(n).contact = time.Now()
}

// acked notes that member n has durably accounted for v.
func (a *acks) acked(n NodeID, v Vector) {
	a.mu.Lock()
	now := time.Now()
	m := a.memberOf(n)
	m.contact = now
	m.inStep = m.streams > 0
	if m.vector == nil {
		m.vector = Vector{}
	}
	from, to := m.vector[a.self], v[a.self]
	for o, seq := range v {
		m.vector[o] = max(m.vector[o], seq)
	}
	for _, c := range a.commits[a.after(from):] {
		if c.seq > to {
			break
		}
		m.lag = now.Sub(c.at)
		if a.observe != nil {
			a.observe(n, m.lag)
		}
	}
	ready := a.ready()
	a.mu.Unlock()
	for _, w := range ready {
		w.f()
	}
}

// after is the index of the first mark above seq.
func (a *acks) after(seq uint64) int {
	lo, hi := 0, len(a.commits)
	for lo < hi {
		if mid := (lo + hi) / 2; a.commits[mid].seq <= seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// reached is what every member in step has acknowledged; false if there is
// none.
func (a *acks) reached() (seq uint64, any bool) {
	for _, m := range a.members {
		if m.inStep {
			if s := m.vector[a.self]; !any || s < seq {
				seq, any = s, true
			}
		}
	}
	return seq, any
}

// ready takes the waits that are over from the queue.
func (a *acks) ready() []ackWait {
	seq, any := a.reached()
	n := 0
	for n < len(a.waiting) && (!any || a.waiting[n].seq <= seq) {
		n++
	}
	out := a.waiting[:n:n]
	a.waiting = a.waiting[n:]
	return out
}

func (a *acks) wait(seq uint64, f func()) {
	a.mu.Lock()
	if reached, any := a.reached(); any && reached < seq {
		a.waiting = append(a.waiting, ackWait{seq, f})
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	f()
}

func (a *acks) describe(m *Member, have Vector) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.members[m.Node]
	if k == nil {
		k = new(acker)
	}
	m.Connected, m.LastContact, m.Lag = k.streams > 0, k.contact, k.lag
	for o, seq := range have {
		m.Behind += seq - min(seq, k.vector[o])
	}
	if i := a.after(k.vector[a.self]); i < len(a.commits) {
		m.Oldest = time.Since(a.commits[i].at)
	}
}

// Attach notes that a member has begun to pull and has vector v. The function
// that it returns notes that it has ended; call it once.
func (r *Registry) Attach(n NodeID, v Vector) (detach func()) {
	r.Report(n, v)
	r.acks.attach(n, v)
	return func() { r.acks.detach(n) }
}

// Heard notes a sign of life of a member.
func (r *Registry) Heard(n NodeID) { r.acks.heard(n) }

// Acked notes that a member has made everything up to v durable.
func (r *Registry) Acked(n NodeID, v Vector) { r.acks.acked(n, v) }

// AfterAck calls f once every member that is in step (it pulls, and has taken
// all there was when it began) has acknowledged all that is durable here now;
// at once if there is none. One that stops pulling is no longer waited for. f
// must not block.
func (r *Registry) AfterAck(f func()) {
	r.mu.RLock()
	seq := r.core.own()
	r.mu.RUnlock()
	r.acks.wait(seq, f)
}

// ObserveLag has f called for each commit that a member acknowledges, with the
// time from the one to the other. Call it before the first member attaches; f
// must not block.
func (r *Registry) ObserveLag(f func(NodeID, time.Duration)) {
	r.acks.mu.Lock()
	defer r.acks.mu.Unlock()
	r.acks.observe = f
}
