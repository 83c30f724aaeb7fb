package registry

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// batchOps, batchEntries and batchBytes bound one commit: large enough that
	// its fsync costs each entry little, small enough that nobody waits long.
	// There are more entries than changes only while another tracker's are
	// caught up with: the more then go into a commit, the fewer times a page of
	// the hash strings, which lie in no order, is written.
	batchOps     = 2000
	batchEntries = 32000
	batchBytes   = 8 << 20
	// sweepBatch bounds the superseded entries removed in one commit, and
	// sweepFrom is how many it takes until they are removed along with other
	// changes rather than in a quiet moment.
	sweepBatch = 2000
	sweepFrom  = 1000
	// sweepQuiet is how long nothing must happen before fewer are removed.
	sweepQuiet = 500 * time.Millisecond
	// collectEvery is how often gone rows are looked for that may be dropped.
	collectEvery = 250 * time.Millisecond
	// sweepsToCollect bounds the commits that sweep ahead of it each time.
	sweepsToCollect = 4
)

// writer is what run keeps between its rounds.
type writer struct {
	r        *Registry
	sweeping []dotRef // in key order
	upto     uint64   // losers that are swept once sweeping is empty
	held     []op     // waiting until no scan is open
}

// run plans, gathers, writes, shows and answers changes, until ops is closed.
func (r *Registry) run() {
	defer close(r.stopped)
	w := &writer{r: r}
	quiet := time.NewTimer(sweepQuiet)
	defer quiet.Stop()
	collect := time.NewTicker(collectEvery)
	defer collect.Stop()
	for {
		select {
		case o, ok := <-r.ops:
			if !ok {
				for _, o := range w.held {
					o.done(ErrClosed)
				}
				return
			}
			for more := true; more; {
				o, more = w.round(o)
			}
			w.release()
			quiet.Reset(sweepQuiet)
		case <-quiet.C:
			if w.sweep() {
				quiet.Reset(sweepQuiet / 10)
			}
		case <-collect.C:
			w.collect()
		case <-r.unread:
			w.release()
		}
	}
}

// round commits first and whatever else is waiting. If the next change must
// come in a batch of its own, it is returned.
func (w *writer) round(first op) (next op, more bool) {
	r := w.r
	b := r.core.begin(time.Now().UnixMilli(), r.mono())
	r.mu.RLock()
	b.hidden = r.hidden
	r.mu.RUnlock()
	var ops []op
	o, ok := first, true
gather:
	for ok {
		if o.alone && len(ops) == 0 {
			w.held = append(w.held, o)
			return next, false
		}
		if o.alone || o.whole != nil && b.touched[*o.whole] {
			next, more = o, true
			break
		}
		o.plan(b)
		ops = append(ops, o)
		if len(b.puts) >= batchEntries || b.bytes >= batchBytes || len(ops) >= batchOps {
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
		err = w.write(b, w.dead(sweepFrom, sweepBatch))
	}
	if err == nil {
		r.show(b)
	}
	for _, o := range ops {
		o.done(err)
	}
	return next, more
}

// write makes a batch durable and the dead entries go.
func (w *writer) write(b *batch, dead []dotRef) error {
	r := w.r
	begun := time.Now()
	r.fail(r.store.commit(r.core, b, dead))
	if err := r.Err(); err != nil {
		return err
	}
	if f := r.committed.Load(); f != nil {
		(*f)(time.Since(begun))
	}
	switch {
	case len(w.sweeping) > 0:
	case len(r.core.superseded) == 0:
		r.core.swept = r.core.losers
	default:
		r.core.swept = w.upto
	}
	return nil
}

// release does what waited for the scans to end.
func (w *writer) release() {
	for len(w.held) > 0 {
		o := w.held[0]
		// All that is superseded goes with it: a loser left in the file would
		// be back after a restart.
		ok, err := w.alone(o.plan, math.MaxInt)
		if !ok {
			return
		}
		w.held = w.held[1:]
		o.done(err)
	}
}

// alone commits one change while no scan is open; ok is false if one is.
func (w *writer) alone(plan func(*batch), most int) (ok bool, err error) {
	r := w.r
	open := func() bool {
		r.mu.RLock()
		defer r.mu.RUnlock()
		return r.pins > 0
	}
	if open() {
		return false, nil
	}
	if err := r.Err(); err != nil {
		return true, err
	}
	b := r.core.begin(time.Now().UnixMilli(), r.mono())
	plan(b)
	if b.empty() {
		return true, nil
	}
	r.mu.Lock()
	if r.pins > 0 {
		r.mu.Unlock()
		return false, nil
	}
	r.core.introduce(b)
	r.mu.Unlock()
	// A scan that begins now takes what is dropped for dropped, and needs
	// nothing that is superseded.
	if err := w.write(b, w.take(most)); err != nil {
		return true, err
	}
	r.show(b)
	return true, nil
}

// collect drops some of what is gone and known to be gone everywhere.
func (w *writer) collect() {
	r := w.r
	if r.Err() != nil {
		return
	}
	r.core.gather()
	for range sweepsToCollect {
		if len(r.core.gc.found) == 0 || r.core.swept >= r.core.gc.after || !w.sweep() {
			break
		}
	}
	if len(r.core.gc.found) > 0 && r.core.swept >= r.core.gc.after {
		_, _ = w.alone((*batch).collect, 0) // it fails as the registry does, or comes again
	}
}

// sweep removes a batch of superseded entries, if there are any and no scan is
// open.
func (w *writer) sweep() bool {
	dead := w.dead(1, sweepBatch)
	if len(dead) == 0 || w.r.Err() != nil {
		return false
	}
	return w.write(&batch{c: w.r.core}, dead) == nil
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

// ObserveCommits has f called after each commit with how long it took, its fsync
// included. f must not block.
func (r *Registry) ObserveCommits(f func(time.Duration)) { r.committed.Store(&f) }

func (r *Registry) fail(err error) {
	if err == nil || r.Err() != nil {
		return
	}
	r.err = fmt.Errorf("write the seederlist file %s: %w", r.store.path, err)
	close(r.failed)
}

// dead takes superseded entries, if there are at least least of them and no
// scan is open. What superseded them is durable.
func (w *writer) dead(least, most int) []dotRef {
	w.r.mu.RLock()
	defer w.r.mu.RUnlock()
	if w.r.pins > 0 || len(w.sweeping)+len(w.r.core.superseded) < least {
		return nil
	}
	return w.take(most)
}

// take takes at most most superseded entries, in key order.
func (w *writer) take(most int) []dotRef {
	c := w.r.core
	if len(w.sweeping) == 0 || most > len(w.sweeping) && most == math.MaxInt {
		w.sweeping, c.superseded = append(w.sweeping, c.superseded...), nil
		slices.SortFunc(w.sweeping, compareRefs)
		w.upto = c.losers
	}
	n := min(len(w.sweeping), most)
	out := w.sweeping[:n]
	if w.sweeping = w.sweeping[n:]; len(w.sweeping) == 0 {
		w.sweeping = nil
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
