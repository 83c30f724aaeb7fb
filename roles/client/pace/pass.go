package pace

import (
	"context"
	"math"
	"time"
)

// Pass is the way of one piece through one or more gates. It belongs to one
// goroutine.
type Pass struct {
	turns []*turn // in the order of the gates
}

// Enter waits for a turn at each gate, in order; every caller must name the
// gates in the same order. who is the peer, any comparable value. The error is
// ctx's.
func Enter(ctx context.Context, who any, gates ...*Gate) (*Pass, error) {
	p := new(Pass)
	for _, g := range gates {
		t, err := g.enter(ctx, who)
		if err != nil {
			p.Leave()
			return nil, err
		}
		p.turns = append(p.turns, t)
	}
	return p, nil
}

// Leave gives the turns back.
func (p *Pass) Leave() {
	for _, t := range p.turns {
		t.end()
	}
	p.turns = nil
}

// Step is how many bytes [Pass.Move] should move next, at least 1.
func (p *Pass) Step() int64 {
	n := int64(math.MaxInt64)
	for _, t := range p.turns {
		n = min(n, t.gate.step())
	}
	return n
}

// Move calls move, which moves up to Step bytes and says how many, and then
// waits for as long as the gates want for these. While move stands still the
// turns are lent. The error is move's, or else ctx's.
func (p *Pass) Move(ctx context.Context, move func() (int64, error)) (int64, error) {
	var n int64
	var failed error
	err := lent(ctx, p.turns, lendAfter, func() { n, failed = move() })
	if failed != nil {
		err = failed
	}
	for i, t := range p.turns {
		if err == nil {
			err = t.gate.pay(ctx, n, p.turns[i+1:])
		}
	}
	return n, err
}

// lent runs f. When that takes longer than patience, the turns are given to
// others, and waited for afterwards.
func lent(ctx context.Context, turns []*turn, patience time.Duration, f func()) error {
	if len(turns) == 0 {
		f()
		return nil
	}
	for _, t := range turns {
		t.setLending(true)
	}
	lend := func() {
		for _, t := range turns {
			t.lend()
		}
	}
	if patience > 0 {
		defer time.AfterFunc(patience, lend).Stop()
	} else {
		lend()
	}
	f()
	// Turns are taken in the order of the gates and never held while one of an
	// earlier gate is waited for: two pieces could wait for each other.
	var back []*turn
	for _, t := range turns {
		held := t.setLending(false)
		if held && len(back) > 0 {
			t.leave()
		}
		if !held || len(back) > 0 {
			back = append(back, t)
		}
	}
	for _, t := range back {
		if err := t.await(ctx); err != nil {
			return err
		}
	}
	return nil
}
