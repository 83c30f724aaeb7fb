package registry

import (
	"bytes"
	"slices"
	"time"
)

// member is another tracker as this one knows it. Members decide what may be
// dropped: see collect.go.
type member struct {
	recorded  bool // in the file, not only as the writer of an entry
	forgotten bool
	// settled is the newest report of its vector that this tracker's own
	// covers, pending a newer one that it does not cover yet.
	settled, pending Vector
}

// memberOf is the member of that ID, made known if need be.
func (c *core) memberOf(n NodeID) *member {
	m := c.members[n]
	if m == nil {
		m = new(member)
		c.members[n] = m
	}
	return m
}

// report notes a vector that a member said it had. It must have had all of it
// at one moment. A report that does not cover the one before comes from a
// tracker on an older disk, and nothing said before counts any more.
func (c *core) report(n NodeID, v Vector) {
	m := c.memberOf(n)
	if !v.CoversAll(m.settled) || !v.CoversAll(m.pending) {
		m.settled, m.pending = nil, nil
	}
	switch {
	case c.coversAll(v):
		m.settled, m.pending = v, nil
	case m.pending == nil:
		// One that waits is kept, or under load none would ever be covered.
		m.pending = v
	}
}

func (c *core) coversAll(v Vector) bool {
	for o, seq := range v {
		if !c.covers(Dot{o, seq}) {
			return false
		}
	}
	return true
}

// meet makes a tracker known, also one that had been forgotten.
func (b *batch) meet(n NodeID) {
	if n == b.c.self.Node() {
		return
	}
	if known, forgotten := b.member(n); !known || forgotten {
		b.members[n] = false
	} else if m := b.c.members[n]; m != nil && !m.recorded {
		b.members[n] = false
	}
}

// forget has a tracker's absence no longer count. It reports whether it did.
func (b *batch) forget(n NodeID) bool {
	known, forgotten := b.member(n)
	if !known || forgotten {
		return false
	}
	b.members[n] = true
	return true
}

func (b *batch) member(n NodeID) (known, forgotten bool) {
	if f, ok := b.members[n]; ok {
		return true, f
	}
	m := b.c.members[n]
	return m != nil, m != nil && m.forgotten
}

// tends reports whether this tracker may expire the clients of a home: its own,
// and those of a tracker that will not return.
func (c *core) tends(home NodeID) bool {
	if home == c.self.Node() {
		return true
	}
	m := c.members[home]
	return m != nil && m.forgotten
}

// Meet makes another tracker known: until it is forgotten, what is gone is kept
// until that tracker knows of it. It is durable before any later change.
func (r *Registry) Meet(n NodeID) {
	r.mu.RLock()
	m := r.core.members[n]
	known := n == r.core.self.Node() || m != nil && m.recorded && !m.forgotten
	r.mu.RUnlock()
	if !known {
		r.submit(op{plan: func(b *batch) { b.meet(n) }, done: func(error) {}})
	}
}

// Forget says that another tracker will not return: nothing waits for it any
// longer, and its clients expire here unless they have turned to this tracker.
// If it returns nevertheless it is a member again. done hears whether it was
// known, once that is durable.
func (r *Registry) Forget(n NodeID, done func(known bool, err error)) {
	var known bool
	r.submit(op{
		plan: func(b *batch) { known = b.forget(n) },
		done: func(err error) { done(known, err) },
	})
}

// Report tells what vector a member said it had, all at one moment. v must not
// be changed afterwards.
func (r *Registry) Report(n NodeID, v Vector) {
	if n == r.NodeID() {
		return
	}
	r.submit(op{
		plan: func(b *batch) {
			b.meet(n)
			b.reports = append(b.reports, report{n, v})
		},
		done: func(error) {},
	})
}

// Member is another tracker, as status shows it.
type Member struct {
	Node      NodeID
	Forgotten bool
	// Connected reports whether it is pulling from this tracker.
	Connected bool
	// LastContact is when it last said anything on a Pull stream; zero if not
	// since this tracker started.
	LastContact time.Time
	// Behind is how many entries, of all origins, it has not acknowledged.
	Behind uint64
	// Oldest is the age of the oldest entry written here that it has not
	// acknowledged, since this tracker started; 0 if there is none.
	Oldest time.Duration
	// Lag is how long the newest entry that it acknowledged took, from its
	// commit here to the acknowledgement that it is durable there.
	Lag time.Duration
}

// Members lists the other trackers, in the order of their IDs.
func (r *Registry) Members() []Member {
	r.mu.RLock()
	have := r.core.vector()
	var out []Member
	for n, m := range r.core.members {
		out = append(out, Member{Node: n, Forgotten: m.forgotten})
	}
	r.mu.RUnlock()
	for i := range out {
		r.acks.describe(&out[i], have)
	}
	slices.SortFunc(out, func(a, b Member) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	return out
}
