package registry

import (
	"fmt"
	"slices"
	"time"
)

const (
	// batchEntries and batchBytes bound one commit: large enough that its
	// fsync costs each entry little, small enough that nobody waits long.
	batchEntries = 2000
	batchBytes   = 4 << 20
	// sweepBatch bounds the superseded entries removed in one commit, and
	// sweepFrom is how many it takes until they are removed along with other
	// changes rather than in a quiet moment.
	sweepBatch = 2000
	sweepFrom  = 1000
	// sweepQuiet is how long nothing must happen before fewer are removed.
	sweepQuiet = 500 * time.Millisecond
)

// run plans, gathers, writes, shows and answers changes, until ops is closed.
func (r *Registry) run() {
	defer close(r.stopped)
	quiet := time.NewTimer(sweepQuiet)
	defer quiet.Stop()
	var sweeping []dotRef // in key order
	for {
		select {
		case o, ok := <-r.ops:
			if !ok {
				return
			}
			for more := true; more; {
				o, more = r.round(o, &sweeping)
			}
			quiet.Reset(sweepQuiet)
		case <-quiet.C:
			if dead := r.dead(&sweeping, 1); len(dead) > 0 && r.Err() == nil {
				r.fail(r.store.commit(r.core, r.core.begin(0, 0), dead))
				quiet.Reset(sweepQuiet / 10)
			}
		}
	}
}

// round commits first and whatever else is waiting. If the next change must
// come in a batch of its own, it is returned.
func (r *Registry) round(first op, sweeping *[]dotRef) (next op, more bool) {
	b := r.core.begin(time.Now().UnixMilli(), r.mono())
	var ops []op
	o, ok := first, true
gather:
	for ok {
		if o.whole != nil && b.touched[*o.whole] {
			next, more = o, true
			break
		}
		o.plan(b)
		ops = append(ops, o)
		if len(b.puts) >= batchEntries || b.bytes >= batchBytes || len(ops) >= queued {
			break
		}
		select {
		case o, ok = <-r.ops:
		default:
			break gather
		}
	}
	err := r.Err()
	if err == nil && !b.empty() {
		r.mu.Lock()
		r.core.introduce(b)
		r.mu.Unlock()
		err = r.store.commit(r.core, b, r.dead(sweeping, sweepFrom))
		r.fail(err)
		err = r.Err()
	}
	if err == nil {
		r.show(b)
	}
	for _, o := range ops {
		o.done(err)
	}
	return next, more
}

func (r *Registry) show(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.apply(b)
	r.acks.committed(b.seq)
	if len(b.spans) > 0 {
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

func (r *Registry) fail(err error) {
	if err == nil || r.Err() != nil {
		return
	}
	r.err = fmt.Errorf("write the seederlist file %s: %w", r.store.path, err)
	close(r.failed)
}

// dead takes superseded entries, in key order, if there are at least least of
// them and no scan is open. What superseded them is durable.
func (r *Registry) dead(sweeping *[]dotRef, least int) []dotRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pins > 0 || len(*sweeping)+len(r.core.superseded) < least {
		return nil
	}
	if len(*sweeping) == 0 {
		*sweeping, r.core.superseded = r.core.superseded, nil
		slices.SortFunc(*sweeping, compareRefs)
	}
	n := min(len(*sweeping), sweepBatch)
	out := (*sweeping)[:n]
	if *sweeping = (*sweeping)[n:]; len(*sweeping) == 0 {
		*sweeping = nil
	}
	return out
}

func compareRefs(a, b dotRef) int {
	switch {
	case a == b:
		return 0
	case a.origin < b.origin, a.origin == b.origin && a.seq < b.seq:
		return -1
	}
	return 1
}
