// Package pace owns how fast pieces move and whose turn it is. A [Gate] bounds
// the bytes a second and how many pieces are on their way at once, and gives
// turns fairly between peers. A piece takes a [Pass] through the gates that
// hold for it: its torrent's, then that of all torrents.
package pace

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxTurns is how many pieces go through a gate at once: enough that some
	// peer can always take bytes, few enough that each is soon complete and
	// can be passed on by who got it.
	maxTurns = 32
	// perTurn is the rate, in bytes a second, that a limited gate wants for
	// each turn: a piece of 512 KiB then takes a quarter of a second.
	perTurn = 2 << 20
	// aloneBelow is the limit, in bytes a second, below which one piece goes
	// at a time. Two would each be so slow that their fetchers give up.
	aloneBelow = 64 << 10
	// perMember is how many turns one peer has at once at most: what it asks
	// for beyond that waits, however free the gate is.
	perMember = 4
	// lendAfter is how long a turn is held by a piece that stands still. Then
	// another may go, so that a peer that takes nothing costs nobody his turn.
	lendAfter = 200 * time.Millisecond
	// maxBegun is how many pieces of one peer may be under way or stand still at
	// once. Each of them may cost a buffer of 128 KiB in the transport.
	maxBegun = 32
	// maxMembers bounds the memory of who had the last turn.
	maxMembers = 2048

	// maxStep is how many bytes go at once when nothing limits them, a piece,
	// and limitedStep when something does.
	maxStep     = 512 << 10
	limitedStep = 64 << 10
	// minStep keeps the smallest limits from sending single bytes.
	minStep = 1 << 10
	// burstTime is for how long a gate that nothing went through makes up:
	// long enough for a late wake-up on a busy machine, short enough that a
	// second's count is right within a tenth.
	burstTime = 100 * time.Millisecond
)

// Gate bounds what goes through it. The zero value is no gate; see [NewGate].
// All methods may be called from several goroutines.
type Gate struct {
	free bool // without a limit, nobody waits for a turn

	mu      sync.Mutex
	limit   int64 // bytes a second; 0 means none
	bucket  *rate.Limiter
	turns   int // how many may be taken
	each    int // how many of them by one peer
	taken   int
	members map[any]*member
	grants  uint64 // turns given so far
}

// member is a peer as a gate sees it.
type member struct {
	taken int
	begun int     // pieces that have had a turn and have not left
	last  uint64  // the number of its last grant
	queue []*turn // bounded by the streams that one peer may open
}

// turn is one piece's place at one gate.
type turn struct {
	gate    *Gate
	who     any
	ready   chan struct{} // one element: granted
	held    bool
	begun   bool // has been held before: such go first
	lending bool // may be given to another at any moment
}

// NewGate makes a gate with a limit in bytes a second; 0 means none. Turns are
// bounded without a limit, too: it is for what others ask of this side.
func NewGate(limit int64) *Gate { return newGate(false, limit) }

// NewFreeGate makes a gate that lets everything pass while it has no limit: it
// is for what this side asks of others.
func NewFreeGate(limit int64) *Gate { return newGate(true, limit) }

func newGate(free bool, limit int64) *Gate {
	g := &Gate{free: free, members: make(map[any]*member)}
	g.SetLimit(limit)
	return g
}

// Limit is the bytes a second that may go through; 0 means that nothing limits
// them.
func (g *Gate) Limit() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit
}

// Ahead is how many pieces are worth having in line at the gate: more only wait.
func (g *Gate) Ahead() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turns > maxTurns {
		return math.MaxInt
	}
	return 2 * g.turns
}

// SetLimit changes the limit; 0 means none. What is under way follows with its
// next step, within a fraction of a second.
func (g *Gate) SetLimit(limit int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case limit <= 0:
		limit, g.bucket = 0, nil
	case limit != g.limit:
		// A new one, and empty: what is owed at the old rate is not paid at
		// the new one.
		g.bucket = rate.NewLimiter(rate.Limit(limit), burst(limit))
		g.bucket.AllowN(time.Now(), burst(limit))
	}
	g.limit, g.turns, g.each = limit, turnsAt(limit), perMember
	if g.free && limit == 0 {
		g.turns, g.each = math.MaxInt, math.MaxInt
	}
	g.grant()
}

func burst(limit int64) int {
	return int(max(limit*int64(burstTime)/int64(time.Second), minStep))
}

func turnsAt(limit int64) int {
	switch {
	case limit == 0:
		return maxTurns
	case limit < aloneBelow:
		return 1
	}
	return int(min(max(limit/perTurn, 2), maxTurns))
}

// step is how many bytes may go at once.
func (g *Gate) step() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == 0 {
		if g.free {
			return math.MaxInt64
		}
		return maxStep
	}
	return min(int64(burst(g.limit)), limitedStep)
}

// pay waits until n bytes more may have gone. behind are the turns at the gates
// behind this one, which are not kept from others meanwhile.
func (g *Gate) pay(ctx context.Context, n int64, behind []*turn) error {
	for n > 0 {
		g.mu.Lock()
		bucket := g.bucket
		var part int64
		var wait time.Duration
		if bucket != nil {
			part = min(n, int64(bucket.Burst()))
			wait = bucket.ReserveN(time.Now(), int(part)).Delay()
		}
		g.mu.Unlock()
		if bucket == nil {
			return nil
		}
		n -= part
		if wait <= 0 {
			continue
		}
		err := lent(ctx, behind, 0, func() { sleep(ctx, wait) })
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// enter waits for a turn.
func (g *Gate) enter(ctx context.Context, who any) (*turn, error) {
	t := &turn{gate: g, who: who, ready: make(chan struct{}, 1)}
	if err := t.await(ctx); err != nil {
		t.end() // it may have been granted at the same moment
		return nil, err
	}
	return t, nil
}

// await queues t and waits until it is held.
func (t *turn) await(ctx context.Context) error {
	g := t.gate
	g.mu.Lock()
	m := g.member(t.who)
	if t.begun {
		m.queue = append([]*turn{t}, m.queue...)
	} else {
		m.queue = append(m.queue, t)
	}
	g.grant()
	g.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	t.leave()
	return ctx.Err()
}

// end is leave for good.
func (t *turn) end() {
	t.leave()
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.begun {
		g.member(t.who).begun--
		g.grant()
	}
}

// leave gives a turn back, or takes it out of the line.
func (t *turn) leave() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.held {
		g.take(t, false)
	} else if m := g.members[t.who]; m != nil {
		for i, other := range m.queue {
			if other == t {
				m.queue = append(m.queue[:i], m.queue[i+1:]...)
				break
			}
		}
	}
	g.grant()
}

// lend lets another have the turn while its holder stands still.
func (t *turn) lend() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.lending && t.held {
		g.take(t, false)
		g.grant()
	}
}

// setLending says whether lend may act, and reports whether the turn is held.
func (t *turn) setLending(on bool) (held bool) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.lending = on
	return t.held
}

// take counts a turn in or out. g.mu is held.
func (g *Gate) take(t *turn, held bool) {
	n, m := -1, g.member(t.who)
	if held {
		n = 1
		if !t.begun {
			m.begun++
		}
		t.begun = true
	}
	t.held = held
	g.taken += n
	m.taken += n
}

// member finds or makes a peer's record. g.mu is held.
func (g *Gate) member(who any) *member {
	m := g.members[who]
	if m != nil {
		return m
	}
	if len(g.members) >= maxMembers {
		for key, other := range g.members {
			if other.begun == 0 && len(other.queue) == 0 {
				delete(g.members, key)
			}
		}
	}
	m = new(member)
	g.members[who] = m
	return m
}

// grant gives free turns away. g.mu is held.
func (g *Gate) grant() {
	for g.taken < g.turns {
		m := g.next()
		if m == nil {
			return
		}
		t := m.queue[0]
		m.queue = m.queue[1:]
		g.grants++
		m.last = g.grants
		g.take(t, true)
		t.ready <- struct{}{} // has room: a turn waits once at a time
	}
}

// next is the member whose turn it is: one with a piece that has begun, else
// the one with the fewest turns, else the one that waits longest for its next.
// g.mu is held.
func (g *Gate) next() *member {
	var best *member
	for _, m := range g.members {
		if len(m.queue) == 0 || m.taken >= g.each || !g.free && !m.queue[0].begun && m.begun >= maxBegun {
			continue
		}
		if best == nil || before(m, best) {
			best = m
		}
	}
	return best
}

func before(a, b *member) bool {
	if x, y := a.queue[0].begun, b.queue[0].begun; x != y {
		return x
	}
	return cmp.Or(cmp.Compare(a.taken, b.taken), cmp.Compare(a.last, b.last)) < 0
}
