// Package tracker owns a tracker: the sessions of clients and of the other
// trackers, the answers to requests, and the leases. What is listed, and how
// trackers come to agree on it, is the registry's.
package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/tracker/replica"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/address"
)

// DefaultLease is how long a client stays listed after its last renewal.
const DefaultLease = 2 * time.Minute

// hashBudget bounds the bytes of hash strings that clients have sent and that
// are not durable yet: three torrents of the largest size, thousands of usual
// ones. The other trackers have the same apart.
const hashBudget = 256 << 20

// Options say what a tracker needs.
type Options struct {
	// Addr is where to listen, "ip:port"; port 0 takes a free one.
	Addr string
	// Advertise is where others reach the tracker: Addr if it is zero. Port 0 is
	// the one that is listened on. It is told in hellos and in the status.
	Advertise netip.AddrPort
	// TrustAnnounced are the networks from which clients may announce another IP
	// than the one that they come from.
	TrustAnnounced []netip.Prefix
	// Peers are the other trackers, "host:port" each.
	Peers []string
	// SeederlistFile is made if it does not exist.
	SeederlistFile string
	// Node is this tracker's ID, for a seederlist file that is new: another has
	// one already. Zero: a random one.
	Node         registry.NodeID
	Listen, Dial transport.Table
	Lease        time.Duration // 0: DefaultLease
	// AckPeer delays answers until the other trackers that are in step have
	// the change on disk too.
	AckPeer bool
	// AcceptDataLoss lets New start with an empty list when the seederlist
	// file cannot be used and no other tracker answers.
	AcceptDataLoss bool
	Log            *slog.Logger // nil: silent
	Observe        Observer

	limits *limits // nil: defaultLimits
}

// Tracker is a bound tracker on an open seederlist file.
type Tracker struct {
	opts      Options
	log       *slog.Logger
	reg       *registry.Registry
	release   func() error // of the seederlist file
	listeners []transport.Listener
	addr      netip.AddrPort
	peers     atomic.Pointer[peers]
	repeered  chan struct{} // holds a value when peers was replaced
	links     links
	clients   *semaphore.Weighted // of hash strings, in bytes
	pulls     *semaphore.Weighted // the same from trackers
	bring     allowance           // of hash strings, by source
	probes    allowance           // of self-checks, by source
	dialBacks chan struct{}       // a place for each dial for one
	doors     doors
	sessions  sync.WaitGroup
}

// New opens the seederlist file and binds the address. Run must follow: it
// closes both. A file that cannot be used is set aside; the error wraps
// [ErrDataLoss] if nothing is at hand to take its place.
func New(ctx context.Context, o Options) (*Tracker, error) {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Lease < time.Second {
		return nil, fmt.Errorf("lease of %v: want at least 1s", o.Lease)
	}
	if o.limits == nil {
		o.limits = &defaultLimits
	}
	ps, err := newPeers(o.Peers)
	if err != nil {
		return nil, err
	}
	reg, err := openRegistry(ctx, &o)
	if err != nil {
		return nil, err
	}
	t := &Tracker{
		opts:      o,
		log:       o.Log,
		reg:       reg,
		repeered:  make(chan struct{}, 1),
		dialBacks: make(chan struct{}, maxDialBacks),
		clients:   semaphore.NewWeighted(hashBudget),
		bring:     allowance{burst: o.limits.hashBurst, refill: hashRefill},
		probes:    allowance{burst: o.limits.probeBurst, refill: probeRefill},
		doors:     doors{limits: o.limits},
		pulls:     semaphore.NewWeighted(max(hashBudget, replica.MaxHashes)),
	}
	t.observe()
	t.peers.Store(ps)
	t.reg.Collect(len(o.Peers))
	if err := t.bind(ctx); err != nil {
		return nil, errors.Join(err, reg.Close())
	}
	if t.release, err = t.hold(); err != nil {
		return nil, errors.Join(err, t.unbind(), reg.Close())
	}
	return t, nil
}

func (t *Tracker) bind(ctx context.Context) error {
	a, err := address.Parse(t.opts.Addr)
	if err != nil {
		return fmt.Errorf("tracker address %q: %w", t.opts.Addr, err)
	}
	if _, err := netip.ParseAddr(a.Host); err != nil {
		return fmt.Errorf("tracker address %q: want an IP address to listen on, not a name", t.opts.Addr)
	}
	if t.listeners, err = t.opts.Listen.Listen(ctx, t.opts.Addr); err != nil {
		return fmt.Errorf("tracker address %s: %w", t.opts.Addr, err)
	}
	if t.addr, err = netip.ParseAddrPort(t.listeners[0].Addr().String()); err != nil {
		return errors.Join(fmt.Errorf("bound address: %w", err), t.unbind())
	}
	return nil
}

func (t *Tracker) unbind() error {
	var errs []error
	for _, l := range t.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Addr is the bound address, with the real port.
func (t *Tracker) Addr() netip.AddrPort { return t.addr }

// own is where others reach the tracker.
func (t *Tracker) own() netip.AddrPort {
	a := t.opts.Advertise
	switch {
	case !a.IsValid():
		return t.addr
	case a.Port() == 0:
		return netip.AddrPortFrom(a.Addr(), t.addr.Port())
	}
	return a
}

// Stats counts what is listed.
func (t *Tracker) Stats() registry.Stats { return t.reg.Stats() }

// Run serves until ctx ends, then ends all sessions and closes the file. The
// error is nil unless something broke, the seederlist file for instance.
func (t *Tracker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stats := t.reg.Stats()
	t.log.Info("tracker is up", "addr", t.addr, "transports", t.opts.Listen.String(),
		"torrents", stats.Torrents, "seeders", stats.Listed, "node", t.reg.NodeID())
	var loops sync.WaitGroup
	for _, l := range t.listeners {
		loops.Go(func() {
			if err := t.accept(ctx, l); ctx.Err() == nil {
				cancel(fmt.Errorf("listen on %v: %w", l.Addr(), err))
			}
		})
	}
	loops.Go(func() { t.followAll(ctx) })
	loops.Go(func() { t.expire(ctx) })
	loops.Go(func() { t.hide(ctx) })
	select {
	case <-ctx.Done():
	case <-t.reg.Failed():
		cancel(t.reg.Err())
	}
	err := t.unbind()
	loops.Wait()
	t.sessions.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return errors.Join(err, t.release(), t.reg.Close())
}

// agent is what this program calls itself, in the logs of others.
const agent = "mtor"

// hello is this tracker's side of the first exchange.
func (t *Tracker) hello() *wire.Hello {
	id := t.reg.NodeID()
	return &wire.Hello{
		Version:    wire.Version,
		Role:       wire.Role_ROLE_TRACKER,
		NodeId:     id[:],
		ListenAddr: t.own().String(),
		Agent:      agent,
	}
}

// maxHashes is the length of the largest hash string in bytes.
const maxHashes = torrentfmt.MaxPieces*torrentfmt.HashSize + torrentfmt.MaxListLen
