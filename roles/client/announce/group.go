package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

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
	told     bool                        // an announcement was sent: one of the trackers may list this client
	left     bool
	lease    time.Duration
	renewAt  time.Time
	answered bool  // a tracker has, since Run began
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

// busy reports whether a tracker is needed.
func (g *Group) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.left && len(g.listings)+len(g.gone) > 0
}

// Reachable is false while every tracker of the group has failed.
func (g *Group) Reachable() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.problem == nil
}

// Answered is whether a tracker of the group has answered since Run began.
func (g *Group) Answered() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answered
}

// Trouble is why peers cannot be asked for: all trackers of the group have failed,
// or none has answered yet. It names them, and is nil while all is well.
func (g *Group) Trouble() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.problem == nil && !g.answered {
		return g.unanswered()
	}
	return g.problem
}

func (g *Group) unanswered() error {
	return fmt.Errorf("no tracker has answered yet: %s", strings.Join(g.o.Trackers, ", "))
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
		return g.unanswered()
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
// group announces nothing any more. It tries each tracker once, and none if no
// announcement was ever sent: then nothing of this client is listed.
func (g *Group) Leave(ctx context.Context) error {
	g.mu.Lock()
	g.left = true
	conn, told := g.conn, g.told
	g.mu.Unlock()
	if !told {
		return nil // what an earlier process may have left expires by itself
	}
	if conn != nil {
		if err := g.leave(ctx, conn); err == nil {
			return nil
		}
	}
	conn, err := g.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return g.leave(ctx, conn)
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
