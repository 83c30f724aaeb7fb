package announce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/transport"
)

// Run keeps the entries until Stop.
func (g *Group) Run() {
	ctx := g.ctx
	defer g.stop()
	pause := retryMin
	for ctx.Err() == nil {
		if !g.busy() {
			select {
			case <-g.wake:
			case <-ctx.Done():
			}
			continue
		}
		conn, err := g.connect(ctx)
		if err != nil {
			if ctx.Err() == nil {
				g.unreachable(err)
			}
			g.sleep(ctx, pause/2+rand.N(pause/2))
			pause = min(2*pause, retryMax)
			continue
		}
		pause = retryMin
		g.connected(conn)
		err = g.serve(ctx, conn)
		g.disconnected()
		conn.Close()
		if ctx.Err() == nil && err != nil {
			g.o.Log.Warn("tracker lost", "error", err)
		}
	}
}

func (g *Group) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connect tries each tracker, the one that was used last at the end: it is the
// one that has just failed. The next is tried headStart later, or at once when
// one has failed; the first that answers is taken.
func (g *Group) connect(ctx context.Context) (*Conn, error) {
	type attempt struct {
		addr string
		conn *Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	order := g.trackers()
	ended := make(chan attempt, len(order))
	var best *Conn
	var errs []error
	started := 0
	for done := 0; done < len(order); {
		var next <-chan time.Time
		if started < len(order) && best == nil {
			addr := order[started]
			started++
			go func() {
				conn, err := Dial(ctx, g.o.Dialer, addr, g.o.Self)
				ended <- attempt{addr, conn, err}
			}()
			next = time.After(headStart)
		}
		if best != nil && done == started {
			break
		}
		select {
		case a := <-ended:
			done++
			switch {
			case transport.WantsKey(a.err):
				errs = append(errs, &keyError{a.addr, a.err})
			case a.err != nil:
				errs = append(errs, a.err)
			case best == nil:
				best = a.conn
				g.o.Log.Info("tracker connected", "tracker", a.addr, "transport", a.conn.sess.Scheme())
				cancel()
			default:
				a.conn.Close()
			}
		case <-next:
		}
	}
	cancel()
	if best != nil {
		return best, nil
	}
	return nil, errors.Join(errs...)
}

// trackers is the order in which to try them, rotated by one at each call.
func (g *Group) trackers() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Concat(g.o.Trackers, g.learned)
	at := g.first % len(all)
	g.first = at + 1
	return slices.Concat(all[at:], all[:at])
}

func (g *Group) connected(conn *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn, g.answered, g.problem = conn, true, nil
	g.renewAt = time.Now().Add(g.lease / 4)
	for _, l := range g.listings {
		l.dirty, l.at, l.askAt, l.ask = true, time.Time{}, time.Time{}, askMin
	}
}

func (g *Group) disconnected() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = nil
}

// keyError is why a tracker is not reached that was not given the same swarm key.
type keyError struct {
	tracker string
	error
}

func (e *keyError) Unwrap() error { return e.error }

// advice says on one line what is wrong and what to do.
func (e *keyError) advice() string {
	switch {
	case errors.Is(e, transport.ErrClear):
		return e.tracker + " speaks only TLS and QUIC, as private swarms do: give the swarm's key with --swarm-key FILE"
	case errors.Is(e, transport.ErrPrivate):
		return e.tracker + " belongs to a private swarm: give the swarm's key with --swarm-key FILE"
	case errors.Is(e, transport.ErrForeign):
		return e.tracker + " holds another swarm key, or none: give its own with --swarm-key FILE, or leave it out"
	}
	return e.tracker + " refused this client's certificate: give the swarm's key with --swarm-key FILE, and look at both clocks"
}

// unreachable tells those who wait that it will take longer.
func (g *Group) unreachable(err error) {
	g.o.Log.Warn("no tracker can be reached", "trackers", strings.Join(g.o.Trackers, ", "), "error", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problem = fmt.Errorf("no tracker can be reached: %s", strings.Join(g.o.Trackers, ", "))
	if key, ok := errors.AsType[*keyError](err); ok {
		g.problem = fmt.Errorf("%w; %s", g.problem, key.advice())
	} else if why := cause(err); why != nil {
		g.problem = fmt.Errorf("%w: %w", g.problem, why)
	}
	for _, l := range g.listings {
		l.answer(g.problem)
	}
}

// serve does what is due over conn until it fails or ctx ends, or, with a nil
// error, until there is nothing to keep.
func (g *Group) serve(ctx context.Context, conn *Conn) error {
	g.mu.Lock()
	known := g.known
	g.mu.Unlock()
	if !known && g.busy() {
		// An earlier process at this address may have been killed before it
		// could leave; its entries are not ours. A tracker that refuses that
		// tells the announcements why.
		err := g.leave(ctx, conn)
		if fatal(err) != nil {
			return err
		}
		g.mu.Lock()
		g.known = err == nil
		g.mu.Unlock()
	}
	for {
		work, next := g.due(time.Now())
		tasks, tctx := errgroup.WithContext(ctx)
		tasks.SetLimit(parallel)
		for _, task := range work {
			tasks.Go(func() error { return task(tctx, conn) })
		}
		if err := tasks.Wait(); err != nil {
			return err
		}
		if len(work) > 0 {
			continue // what was done says what is due next
		}
		if !g.busy() {
			return nil
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-g.wake:
		case <-timer.C:
		case <-conn.Done():
			timer.Stop()
			return conn.sess.Err()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// task is one request. It returns an error only when the session is of no more
// use.
type task func(context.Context, *Conn) error

// due collects what is to be done at now; with nothing, next is when to look
// again. Whatever it returns is not due a second time before it was tried.
func (g *Group) due(now time.Time) (work []task, next time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next = g.renewAt
	if g.left {
		return nil, now.Add(time.Hour)
	}
	for id, at := range g.gone {
		if at.After(now) {
			next = earlier(next, at)
			continue
		}
		g.gone[id] = now.Add(refusedPause) // unless it is done by then
		work = append(work, func(ctx context.Context, c *Conn) error { return fatal(g.remove(ctx, c, id)) })
	}
	for id, l := range g.listings {
		switch {
		case l.dirty && !l.at.After(now):
			l.at = now.Add(refusedPause) // unless it is done by then
			work = append(work, func(ctx context.Context, c *Conn) error { return g.announce(ctx, c, id) })
		case l.hungry && !l.dirty && !l.askAt.After(now):
			l.askAt = now.Add(l.ask)
			l.ask = min(2*l.ask, askMax)
			work = append(work, func(ctx context.Context, c *Conn) error { return g.askPeers(ctx, c, id) })
		}
		if l.dirty {
			next = earlier(next, l.at)
		} else if l.hungry {
			next = earlier(next, l.askAt)
		}
	}
	if !g.renewAt.After(now) && len(g.listings) > 0 {
		work = append(work, g.renew)
	}
	if !g.renewAt.After(now) {
		g.renewAt = now.Add(g.lease / 4)
	}
	return work, next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (g *Group) poke() {
	select {
	case g.wake <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

func (l *listing) answer(err error) {
	for _, w := range l.waiting {
		w <- err
	}
	l.waiting = nil
}
