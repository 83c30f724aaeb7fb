// Package client is the client's role: the library of known torrents, the
// sessions with peers, the announcements to trackers, and what a user can ask
// for ([control.API], implemented by [Client]).
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/hook"
	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// pieceBudget is the memory for pieces in flight, in bytes, shared by all
	// downloads and peers.
	pieceBudget = 64 << 20
	// leaveTimeout bounds how long a quitting client talks to trackers that
	// may be gone.
	leaveTimeout = 3 * time.Second
	// hookGrace is how much longer than the client its hooks may run: with
	// what else quitting takes, less than a signal leaves.
	hookGrace = 5 * time.Second
	// agent is this program in hellos.
	agent = "mtor"
)

// Options of a Client.
type Options struct {
	// ID is what the key proves that Listen and Dial present. A zero one is
	// drawn at random, for those that prove nothing.
	ID   peer.ID
	Addr string // ip:port to listen on; port 0 picks one
	// Advertise is the address to be listed as: Addr if it is zero. Port 0 is
	// the one that is listened on.
	Advertise netip.AddrPort
	Trackers  []string // this client's two, written into what it shares
	StateDir  string
	Listen    transport.Table // all are listened on, on one port number
	Dial      transport.Table // in the order of dialling
	// DialKeyed are for peers and trackers to which both ends prove their keys,
	// in the order of dialling; nil means those of Dial that do.
	DialKeyed transport.Table
	// UploadLimit and DownloadLimit bound what all torrents together send and
	// fetch, in bytes a second; 0 means no limit.
	UploadLimit, DownloadLimit int64
	// MaxPeers is how many sessions with other clients there are at once; 0
	// means defaultPeers.
	MaxPeers int
	// MaxDownloads is how many downloads run at once; the others wait, in the
	// order of their coming. 0 means any number.
	MaxDownloads int
	// OnComplete is a program to run when a download completes, with what it
	// was in the environment: MTOR_NAME, MTOR_PATH (absolute), MTOR_SIZE_BYTES,
	// MTOR_TORRENT_ID (hex) and MTOR_TORRENT_FILE (the .mtorrent's absolute
	// path). Empty for none.
	OnComplete string
	Version    string // of this program, for Status
	Observe    Observer
	Log        *slog.Logger
}

// Client implements control.API.
type Client struct {
	o         Options
	addr      netip.AddrPort // bound
	listed    netip.AddrPort // what others dial
	self      peer.Self
	lib       *library.Library
	buffers   *storage.Buffers
	uploads   *pace.Gate // of all torrents
	downloads *pace.Gate // the same
	listeners []transport.Listener
	peers     *peers
	hooks     *hook.Runner
	log       *slog.Logger
	started   time.Time

	ctx  context.Context // ends when the client is to stop
	stop context.CancelFunc
	wg   sync.WaitGroup
	done chan struct{} // closed when Run has returned

	former []*item // what the library knew at start

	mu      sync.Mutex
	items   []*item                 // in the order of adding
	running map[torrentfmt.ID]*item // those whose file is open
	groups  map[string]*announce.Group
	changed chan struct{} // closed, and replaced, when an item's state changes
}

// New opens the library and binds the listeners. What the library knows is
// checked and goes on once Run is called.
func New(ctx context.Context, o Options) (*Client, error) {
	if o.DialKeyed == nil {
		o.DialKeyed = o.Dial.Proving()
	}
	lib, err := library.Open(o.StateDir)
	if err != nil {
		return nil, err
	}
	c := &Client{
		o: o, lib: lib, log: o.Log,
		buffers: storage.NewBuffers(pieceBudget),
		uploads: pace.NewGate(o.UploadLimit), downloads: pace.NewFreeGate(o.DownloadLimit),
		done:    make(chan struct{}),
		started: time.Now(),
		running: make(map[torrentfmt.ID]*item),
		groups:  make(map[string]*announce.Group),
		changed: make(chan struct{}),
	}
	entries, err := lib.All()
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	if c.listeners, err = o.Listen.Listen(ctx, o.Addr); err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	if c.addr, err = netip.ParseAddrPort(c.listeners[0].Addr().String()); err != nil {
		return nil, errors.Join(err, c.closeListeners(), lib.Close())
	}
	c.addr = netip.AddrPortFrom(c.addr.Addr().Unmap(), c.addr.Port())
	c.listed = c.addr
	if o.Advertise.IsValid() {
		c.listed = netip.AddrPortFrom(o.Advertise.Addr().Unmap(), o.Advertise.Port())
		if c.listed.Port() == 0 {
			c.listed = netip.AddrPortFrom(c.listed.Addr(), c.addr.Port())
		}
	}
	c.self = peer.Self{ID: o.ID, Addr: c.listed, Agent: agent}
	if o.ID == (peer.ID{}) {
		_, _ = rand.Read(c.self.ID[:]) // never fails
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.peers = newPeers(c)
	c.hooks = hook.New(hook.Options{Log: c.log, Ended: c.notify})
	c.hooks.Set(o.OnComplete)
	for _, e := range entries {
		c.items = append(c.items, newItem(c, e))
	}
	c.former = slices.Clone(c.items)
	return c, nil
}

// Addr is the bound address.
func (c *Client) Addr() netip.AddrPort { return c.addr }

// ListedAs is the address that the client announces. An unspecified IP stands
// for the one that a tracker sees.
func (c *Client) ListedAs() netip.AddrPort { return c.listed }

// Run serves until ctx ends or Quit is called. Then the client leaves its
// trackers, says bye to its peers, and saves what it knows.
func (c *Client) Run(ctx context.Context) error {
	defer close(c.done)
	defer context.AfterFunc(ctx, c.stop)()
	for _, l := range c.listeners {
		c.wg.Go(func() { c.peers.accept(l) })
	}
	c.wg.Go(c.load)
	c.wg.Go(c.keepGoals)
	<-c.ctx.Done()

	c.wg.Go(func() { c.hooks.Close(hookGrace) })
	c.leave()
	err := c.closeListeners()
	c.peers.close()
	c.wg.Wait()
	c.closeQueued()
	return errors.Join(err, c.lib.Close())
}

func (c *Client) closeListeners() error {
	var errs []error
	for _, l := range c.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// load checks and starts what the library knew at start, one after the other:
// their files are on the same few disks.
func (c *Client) load() {
	for _, it := range c.former {
		if c.ctx.Err() != nil {
			return
		}
		it.load()
	}
}

// leave takes the client off all its trackers.
func (c *Client) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	c.mu.Lock()
	groups := make([]*announce.Group, 0, len(c.groups))
	for _, g := range c.groups {
		groups = append(groups, g)
	}
	c.mu.Unlock()
	var tasks errgroup.Group
	for _, g := range groups {
		tasks.Go(func() error {
			if err := g.Leave(ctx); err != nil {
				c.log.Warn("could not leave the trackers; the entries expire by themselves", "error", err)
			}
			return nil
		})
	}
	_ = tasks.Wait()
	for _, g := range groups {
		g.Stop()
	}
}

// group is the keeper of the entries of torrents that name these trackers. c.mu
// is held.
func (c *Client) group(trackers [2]string) *announce.Group {
	names := slices.Clone(trackers[:])
	slices.Sort(names)
	names = slices.Compact(names)
	key := strings.Join(names, " ")
	if g := c.groups[key]; g != nil {
		return g
	}
	// In the order that this client prefers, where it knows them.
	slices.SortStableFunc(names, func(a, b string) int { return c.rank(a) - c.rank(b) })
	// Where this client always proves its key to trackers, nobody else is to
	// speak for it, and it must go on proving it.
	dial, self := c.o.Dial, c.hello()
	if !slices.ContainsFunc(names, func(tracker string) bool { return !dial.Insists(tracker) }) {
		dial, self.Keyed = c.o.DialKeyed, true
	}
	g := announce.NewGroup(announce.Options{
		Trackers: names,
		Learned:  c.lib.Learned(key),
		Keep:     func(learned []string) error { return c.lib.SetLearned(key, learned) },
		Dialer:   dial,
		Self:     self,
		Addr:     c.listed,
		Stamps:   c.lib,
		Found:    c.peers.found,
		Log:      c.log,
	})
	c.groups[key] = g
	c.wg.Go(g.Run)
	return g
}

// SetOnComplete chooses another program for the downloads that complete from
// now on; empty for none.
func (c *Client) SetOnComplete(program string) { c.hooks.Set(program) }

// rank is a tracker's place among this client's own, or behind them.
func (c *Client) rank(tracker string) int {
	if i := slices.Index(c.o.Trackers, tracker); i >= 0 {
		return i
	}
	return len(c.o.Trackers)
}

func (c *Client) hello() *wire.Hello {
	return &wire.Hello{
		Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: c.self.ID[:],
		ListenAddr: c.listed.String(), Agent: agent,
	}
}

// Local finds a running torrent; it implements peer.Host.
func (c *Client) Local(id torrentfmt.ID) (peer.Local, bool) {
	if run := c.byTorrent(id); run != nil {
		return run, true
	}
	return nil, false
}

// notify wakes those who wait for a change of state.
func (c *Client) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notifyLocked()
}

func (c *Client) notifyLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Quit ends the client and waits until it has left its trackers.
func (c *Client) Quit(ctx context.Context) error {
	c.stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("quit: %w", ctx.Err())
	}
}

var _ control.API = (*Client)(nil)
