package announce

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport/address"
)

const (
	// defaultLease is assumed until a tracker names its own.
	defaultLease = 2 * time.Minute
	// askMin and askMax bound how often a torrent that wants peers asks for
	// them; the time doubles from one to the other.
	askMin = time.Second
	askMax = 30 * time.Second
	// retryMin and retryMax bound the pause after every tracker of the group
	// has failed.
	retryMin = 250 * time.Millisecond
	retryMax = 15 * time.Second
	// refusedPause is how long an announcement that a tracker refused rests.
	refusedPause = 30 * time.Second
	// headStart is how much earlier one tracker is tried than the next. A
	// tracker that is up answers within a round trip or a few.
	headStart = 500 * time.Millisecond
	// parallel is how many requests a group has in flight.
	parallel = 32
	// maxLearned bounds the trackers that a group knows besides its own: a
	// tracker has told of them, and any tracker may be a stranger's.
	maxLearned = 2 * wire.MaxTrackers
)

// Stamps keeps the newest stamp that any tracker gave this client.
type Stamps interface {
	Stamp() uint64
	SetStamp(uint64) error
}

// Options of a Group.
type Options struct {
	Trackers []string // addresses, one or more; the first that answers is used
	// Learned are further trackers that these have told of before, tried after
	// them. Keep, if set, is told when there are more: all of Learned anew.
	Learned []string
	Keep    func(learned []string) error
	Dialer  Dialer
	Self    *wire.Hello
	Addr    netip.AddrPort // what to be listed as
	Stamps  Stamps
	// Found is told of peers that a tracker named for a torrent that is
	// hungry. It must not block.
	Found func(torrentfmt.ID, []wire.Seeder)
	Log   *slog.Logger
}

// Group keeps a client's entries for the torrents that share one set of
// trackers. It talks to one tracker at a time and goes to the next when that
// one fails. Its state is guarded by a mutex; Run is the only one that talks
// about it, but for Remove and Leave, whose callers want to know the outcome.
type Group struct {
	o    Options
	wake chan struct{}
	ctx  context.Context
	stop context.CancelFunc

	mu       sync.Mutex
	learned  []string
	first    int   // the tracker to try first
	conn     *Conn // nil while no tracker is connected
	listings map[torrentfmt.ID]*listing
	gone     map[torrentfmt.ID]time.Time // to be removed, not before the time
	known    bool                        // this process has told a tracker to forget an earlier one's entries
	left     bool
	lease    time.Duration
	renewAt  time.Time
	problem  error // why no tracker is connected, once all were tried
	mismatch bool  // the last renewal did not match
}

// listing is one torrent's entry.
type listing struct {
	torrent *torrentfmt.Torrent
	whole   bool
	hungry  bool
	dirty   bool      // to be announced
	at      time.Time // not before
	askAt   time.Time
	ask     time.Duration
	err     error // why it is not listed, if a tracker has said so
	waiting []chan error
}

// NewGroup makes a group that does nothing until Run.
func NewGroup(o Options) *Group {
	g := &Group{
		o:        o,
		wake:     make(chan struct{}, 1),
		listings: make(map[torrentfmt.ID]*listing),
		gone:     make(map[torrentfmt.ID]time.Time),
		lease:    defaultLease,
	}
	g.learn(o.Learned)
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g
}

// Stop makes Run return soon.
func (g *Group) Stop() { g.stop() }

// Reachable is false while every tracker of the group has failed.
func (g *Group) Reachable() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.problem == nil
}

// Put lists a torrent, or changes its entry from partial to whole. hungry asks
// for peers, again and again until it is put as not hungry.
func (g *Group) Put(id torrentfmt.ID, t *torrentfmt.Torrent, whole, hungry bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.listings[id]
	if l == nil {
		l = &listing{torrent: t, dirty: true, ask: askMin}
		g.listings[id] = l
		delete(g.gone, id)
	}
	if l.whole != whole {
		l.dirty, l.at = true, time.Time{}
	}
	if hungry && !l.hungry {
		l.askAt = time.Time{}
	}
	l.whole, l.hungry = whole, hungry
	g.poke()
}

// Ask makes a hungry torrent ask for peers soon, because it has lost one.
func (g *Group) Ask(id torrentfmt.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.listings[id]; l != nil && l.hungry {
		l.ask = askMin
		if soon := time.Now().Add(askMin); l.askAt.After(soon) {
			l.askAt = soon
		}
		g.poke()
	}
}

// Announced waits until a tracker has acknowledged the torrent's entry. It
// returns early when no tracker can be reached or one refuses; the group goes
// on trying all the same.
func (g *Group) Announced(ctx context.Context, id torrentfmt.ID) error {
	g.mu.Lock()
	l := g.listings[id]
	switch {
	case l == nil || !l.dirty:
		g.mu.Unlock()
		return nil
	case l.err != nil:
		defer g.mu.Unlock()
		return l.err
	case g.problem != nil:
		defer g.mu.Unlock()
		return g.problem
	}
	done := make(chan error, 1)
	l.waiting = append(l.waiting, done)
	g.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("no tracker has answered yet")
	}
}

// Remove takes a torrent off the trackers. When none can be reached now the
// error says so, and it is done once one can.
func (g *Group) Remove(ctx context.Context, id torrentfmt.ID) error {
	g.mu.Lock()
	l := g.listings[id]
	delete(g.listings, id)
	g.gone[id] = time.Time{}
	conn := g.conn
	g.mu.Unlock()
	if l != nil {
		l.answer(errors.New("removed"))
	}
	if conn == nil {
		g.poke()
		return errors.New("no tracker can be reached")
	}
	if err := g.remove(ctx, conn, id); err != nil {
		g.poke()
		return err
	}
	return nil
}

// Leave takes the client off every torrent of these trackers, for good: the
// group announces nothing any more. It tries each tracker once.
func (g *Group) Leave(ctx context.Context) error {
	g.mu.Lock()
	g.left = true
	conn, known := g.conn, g.known
	g.mu.Unlock()
	if conn != nil {
		if err := g.leave(ctx, conn); err == nil {
			return nil
		}
	}
	if !known {
		return nil // nothing was ever announced
	}
	conn, err := g.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return g.leave(ctx, conn)
}

// Run keeps the entries until Stop.
func (g *Group) Run() {
	ctx := g.ctx
	defer g.stop()
	pause := retryMin
	for ctx.Err() == nil {
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
		if ctx.Err() == nil {
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

// learn takes over trackers that were told of and not known, and returns all
// that the group has learned if that made them more. g.mu is held, or g new.
func (g *Group) learn(told []string) (more []string) {
	for _, addr := range told {
		if len(g.learned) == maxLearned || slices.Contains(g.o.Trackers, addr) || slices.Contains(g.learned, addr) {
			continue
		}
		if a, err := address.Parse(addr); err != nil || a.Port == 0 {
			continue
		}
		g.learned = append(g.learned, addr)
		more = g.learned
	}
	return slices.Clone(more)
}

func (g *Group) connected(conn *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn, g.problem = conn, nil
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

// unreachable tells those who wait that it will take longer.
func (g *Group) unreachable(err error) {
	g.o.Log.Warn("no tracker can be reached", "trackers", strings.Join(g.o.Trackers, ", "), "error", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problem = fmt.Errorf("no tracker can be reached: %w", err)
	for _, l := range g.listings {
		l.answer(g.problem)
	}
}

// serve does what is due over conn until it fails or ctx ends.
func (g *Group) serve(ctx context.Context, conn *Conn) error {
	g.mu.Lock()
	known := g.known
	g.mu.Unlock()
	if !known {
		// An earlier process at this address may have been killed before it
		// could leave; its entries are not ours.
		if err := g.leave(ctx, conn); err != nil {
			return err
		}
		g.mu.Lock()
		g.known = true
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

// digest adds one torrent to the digest of a renewal.
func digest(sum *[sha1.Size]byte, id torrentfmt.ID, whole bool) {
	var b [sha1.Size + 1]byte
	copy(b[:], id[:])
	if whole {
		b[sha1.Size] = 1
	}
	for i, x := range sha1.Sum(b[:]) {
		sum[i] ^= x
	}
}
