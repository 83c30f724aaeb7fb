package tracker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/tracker/replica"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/address"
)

const (
	// redialMin and redialMax bound the pause before a tracker that could not
	// be reached is dialled again: soon enough that it lacks little, random so
	// that two do not keep step.
	redialMin = 100 * time.Millisecond
	redialMax = 500 * time.Millisecond
	// dialTimeout bounds a dial and the hello after it.
	dialTimeout = 5 * time.Second
	// resolveFor is how long a peer's name stands for the addresses found.
	resolveFor     = 10 * time.Second
	resolveTimeout = 2 * time.Second
)

// peers knows which IP addresses the configured trackers have.
type peers struct {
	addrs   []string // as configured
	literal map[netip.Addr]bool
	names   []string

	mu    sync.Mutex
	ips   map[netip.Addr]bool // of names
	found time.Time

	// current ends when others are configured.
	current context.Context
	replace context.CancelFunc
}

func newPeers(addrs []string) (*peers, error) {
	p := &peers{addrs: addrs, literal: map[netip.Addr]bool{}}
	p.current, p.replace = context.WithCancel(context.Background())
	for _, s := range addrs {
		a, err := address.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("other tracker's address %q: %w", s, err)
		}
		if a.Port == 0 {
			return nil, fmt.Errorf("other tracker's address %q: the port is missing", s)
		}
		if ip, err := netip.ParseAddr(a.Host); err == nil {
			p.literal[ip.WithZone("").Unmap()] = true
		} else {
			p.names = append(p.names, a.Host)
		}
	}
	return p, nil
}

// has reports whether ip belongs to a configured tracker.
func (p *peers) has(ctx context.Context, ip netip.Addr) bool {
	if p.literal[ip] || len(p.names) == 0 {
		return p.literal[ip]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ips == nil || time.Since(p.found) > resolveFor {
		p.resolve(ctx)
	}
	return p.ips[ip]
}

// resolve keeps what was known of a name that cannot be resolved now.
func (p *peers) resolve(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips := map[netip.Addr]bool{}
	for _, h := range p.names {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h)
		if err != nil {
			for ip := range p.ips {
				ips[ip] = true
			}
			continue
		}
		for _, ip := range found {
			ips[ip.WithZone("").Unmap()] = true
		}
	}
	p.ips, p.found = ips, time.Now()
}

// follow pulls from one configured tracker for as long as ctx lives. To dial one
// that is down may take all of dialTimeout, so when another tracker calls the
// dial begins anew: it may be this one that is back. Such a dial is let go on, or
// two that call each other would interrupt each other for ever.
func (t *Tracker) follow(ctx context.Context, peer string) {
	log := t.log.With("peer", peer)
	reachable := true // so that the first failure is told
	again := false    // for the second time at once
	for ctx.Err() == nil {
		call := t.links.nextCall()
		giveUp := call
		if again {
			giveUp = ctx
		}
		connected, err := t.pullFrom(ctx, giveUp, peer)
		if ctx.Err() != nil {
			return
		}
		if again = !again && !connected && call.Err() != nil; again {
			continue
		}
		switch {
		case connected:
			log.Info("peer tracker lost", "err", inWords(err))
		case reachable:
			log.Info("peer tracker cannot be reached; dialling on", "err", inWords(err))
		}
		reachable = connected
		pause := redialMin + rand.N(redialMax-redialMin)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// inWords adds what the code means that another tracker ended a session or a
// stream with.
func inWords(err error) error {
	var over *transport.SessionError
	var abort *transport.AbortError
	switch {
	case errors.As(err, &over) && over.Remote && over.Err == nil && over.Code != 0:
		return fmt.Errorf("%w: %s", err, wire.Error(over.Code).Words())
	case errors.As(err, &abort) && abort.Remote:
		return fmt.Errorf("%w: %s", err, wire.Error(abort.Code).Words())
	}
	return err
}

// pullFrom dials a tracker, unless giveUp ends meanwhile, and pulls until the
// session ends.
func (t *Tracker) pullFrom(ctx, giveUp context.Context, peer string) (connected bool, err error) {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	heed := context.AfterFunc(giveUp, cancel)
	defer heed()
	sess, err := t.opts.Dial.Dial(dial, peer)
	if err != nil {
		return false, err
	}
	defer func() { _ = sess.Close() }() // it has ended, or is of no more use
	stop := context.AfterFunc(dial, func() { _ = sess.Close() })
	defer stop()
	node, st, err := t.greetPeer(dial, sess)
	if err != nil {
		return false, err
	}
	if !stop() {
		return false, context.Cause(dial)
	}
	defer func() { _ = st.Close() }()
	st, closed := t.links.dialled(peer, node, st)
	defer closed()
	t.log.Info("peer tracker connected", "peer", peer, "transport", sess.Scheme())
	p := &replica.Puller{
		Registry: t.reg,
		Budget:   t.pulls,
		CaughtUp: func(n int, d time.Duration) { t.caughtUp(peer, n, d) },
		Repaired: func(n int) { t.repaired(peer, n) },
	}
	return true, p.Run(ctx, st)
}

var errNoTracker = wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "it is a client, not a tracker")

// exchangeHellos says hello first and returns the other side's.
func exchangeHellos(ctx context.Context, sess transport.Session, hello *wire.Hello) (*wire.Hello, error) {
	hi, err := sess.Open(ctx)
	if err != nil {
		return nil, err
	}
	b, err := wire.Append(nil, hello)
	if err != nil {
		return nil, err
	}
	if err := transport.WriteLast(hi, b); err != nil {
		return nil, err
	}
	h, err := wire.ReadHello(hi)
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	return h, hi.Close()
}

// greetPeer exchanges hellos and opens the Pull stream.
func (t *Tracker) greetPeer(ctx context.Context, sess transport.Session) (node registry.NodeID, st transport.Stream, err error) {
	h, err := exchangeHellos(ctx, sess, t.hello())
	if err != nil {
		return node, nil, err
	}
	node = registry.NodeID(h.GetNodeId()) // ReadHello has checked its length
	switch {
	case h.GetRole() != wire.Role_ROLE_TRACKER:
		return node, nil, errNoTracker
	case node == t.reg.NodeID():
		return node, nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST,
			"it is this tracker itself, or runs on a copy of its seederlist file or key")
	}
	if st, err = sess.Open(ctx); err != nil {
		return node, nil, err
	}
	return node, st, wire.Write(st, &wire.Open{Kind: &wire.Open_Pull{Pull: &wire.Pull{}}})
}
