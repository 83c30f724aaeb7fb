package client

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

const (
	// defaultPeers is how many sessions there are at once in all. Others may
	// open all but a quarter of them, so that this client finds room to dial.
	defaultPeers = 500
	// maxSessionsPerIP keeps one address from taking all of them.
	maxSessionsPerIP = 64
	// maxDials bounds the dials in flight.
	maxDials = 16
	// maxDialed is how many peers a download dials; more may dial it.
	maxDialed = 50
	// dialTimeout bounds one dial with its hello.
	dialTimeout = 10 * time.Second
	// redialPause is how long a peer that could not be reached is left alone.
	redialPause = 3 * time.Second
	// maxUnreached bounds the memory of such peers.
	maxUnreached = 10_000
	// idleTimeout is how long a session without a torrent in common stays.
	idleTimeout = time.Minute
)

// dialed is who is dialled: the node that a tracker knows to be at an address,
// or whoever is there, with a node of zero. What is asked of the one is never
// sent to the other.
type dialed struct {
	addr netip.AddrPort
	node peer.ID
}

// peers holds the sessions with other clients: one per pair.
type peers struct {
	c *Client

	mu        sync.Mutex
	byID      map[peer.ID]*peer.Conn
	byAddr    map[netip.AddrPort]*peer.Conn
	dialing   map[dialed]map[torrentfmt.ID]bool // what for
	unreached map[netip.AddrPort]time.Time
	habits    habits
	entered   chan struct{}      // closed, and replaced, when a session is entered
	slots     chan struct{}      // a place for each dial in flight
	incoming  map[netip.Addr]int // sessions opened by others, by where from
	accepted  int                // the same, in all
	dialled   int                // sessions opened by this client, and dials for them
	max       int                // of both together
	running   context.Context
	stop      context.CancelFunc
}

func newPeers(c *Client) *peers {
	p := &peers{
		c:         c,
		byID:      make(map[peer.ID]*peer.Conn),
		byAddr:    make(map[netip.AddrPort]*peer.Conn),
		dialing:   make(map[dialed]map[torrentfmt.ID]bool),
		unreached: make(map[netip.AddrPort]time.Time),
		habits:    habits{},
		entered:   make(chan struct{}),
		slots:     make(chan struct{}, maxDials),
		incoming:  make(map[netip.Addr]int),
	}
	p.setMax(c.o.MaxPeers)
	p.running, p.stop = context.WithCancel(context.Background())
	return p
}

// setMax bounds the sessions anew; 0 means defaultPeers.
func (p *peers) setMax(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.max = cmp.Or(n, defaultPeers)
}

// close ends every session with the word that this node quits.
func (p *peers) close() { p.stop() }

// accept greets the sessions of one listener until it is closed.
func (p *peers) accept(l transport.Listener) {
	for {
		sess, err := l.Accept(p.running)
		if err != nil {
			if p.running.Err() == nil && !errors.Is(err, net.ErrClosed) {
				p.c.log.Error("listener failed", "address", l.Addr().String(), "error", err)
			}
			return
		}
		p.c.wg.Go(func() {
			release, ok := p.admit(sess)
			if !ok {
				_ = sess.Abort(transport.Code(wire.Error_ERROR_TOO_MANY))
				return
			}
			defer release()
			conn, err := peer.Accept(p.running, sess, p.c.self, p.c)
			if err != nil {
				p.refuse(sess, err)
				return
			}
			p.keep(conn, conn.Addr, nil)
		})
	}
}

// admit counts a session that was opened by another, if there is room for it.
func (p *peers) admit(sess transport.Session) (release func(), ok bool) {
	source, err := netip.ParseAddrPort(sess.RemoteAddr().String())
	if err != nil {
		return nil, false
	}
	ip := source.Addr().Unmap()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted >= p.max-max(p.max/4, 1) || p.accepted+p.dialled >= p.max || p.incoming[ip] >= maxSessionsPerIP {
		return nil, false
	}
	p.accepted++
	p.incoming[ip]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.accepted--
		if p.incoming[ip]--; p.incoming[ip] == 0 {
			delete(p.incoming, ip)
		}
	}, true
}

// refuse ends a session whose hello was not to be had.
func (p *peers) refuse(sess transport.Session, err error) {
	p.c.log.Debug("peer refused", "peer", sess.RemoteAddr().String(), "error", err)
	_ = sess.Abort(transport.Code(peer.Refusal(err)))
}

// found joins the peers that a tracker has named for a torrent, over the
// session that there is or over a new one.
func (p *peers) found(id torrentfmt.ID, seeders []wire.Seeder) {
	run := p.c.byTorrent(id)
	if run == nil {
		return
	}
	room := maxDialed - run.Status().Peers
	blind := len(p.c.o.DialKeyed) == 0 // it was told to dial in the clear alone
	for _, s := range seeders {
		if blind {
			s.Node = peer.ID{}
		}
		if room <= 0 {
			return
		}
		if s.Addr != p.c.listed && s.Addr != p.c.addr && p.reach(s.Addr, s.Node, id) {
			room--
		}
	}
}

// is reports whether a session, if there is one, is with the node that a tracker
// knows to be at its address; zero if it knows none.
func is(conn *peer.Conn, node peer.ID) bool {
	return conn != nil && (node == peer.ID{} || conn.Proves() && conn.ID == node)
}

// reach joins one peer for a torrent, and reports whether it is under way.
func (p *peers) reach(addr netip.AddrPort, node peer.ID, id torrentfmt.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running.Err() != nil {
		return false
	}
	if conn := p.byAddr[addr]; is(conn, node) {
		p.join(conn, id)
		return true
	}
	who := dialed{addr, node}
	if ids := p.dialing[who]; ids != nil {
		ids[id] = true
		return true
	}
	if at, ok := p.unreached[addr]; ok && time.Since(at) < redialPause {
		return false
	}
	if p.accepted+p.dialled >= p.max {
		return false
	}
	p.dialled++
	p.dialing[who] = map[torrentfmt.ID]bool{id: true}
	p.c.wg.Go(func() { p.dial(who) })
	return true
}

func (p *peers) join(conn *peer.Conn, id torrentfmt.ID) {
	local, ok := p.c.Local(id)
	if !ok {
		return
	}
	if err := conn.Join(id, local); err != nil {
		p.c.log.Debug("peer not joined", "peer", conn.Source(), "error", err)
	}
}

func (p *peers) dial(who dialed) {
	addr, node := who.addr, who.node
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dialled--
	}()
	conn, err := p.greet(addr, node)
	p.mu.Lock()
	ids := slices.Collect(maps.Keys(p.dialing[who]))
	delete(p.dialing, who)
	delete(p.unreached, addr)
	if err != nil && !peer.Replaced(err) {
		if len(p.unreached) >= maxUnreached {
			clear(p.unreached)
		}
		p.unreached[addr] = time.Now()
	}
	p.mu.Unlock()
	switch {
	case err == nil:
		p.keep(conn, addr, ids)
	case peer.Replaced(err):
		p.moveTo(addr, node, ids)
	case p.running.Err() == nil:
		level := slog.LevelDebug // a peer that is away is nothing special
		if errors.Is(err, transport.ErrOtherNode) {
			level = slog.LevelWarn
		}
		p.c.log.Log(p.running, level, "peer not reached", "peer", addr.String(), "error", err)
	}
}

// greet dials a peer: one whose node a tracker knows, over what proves it alone.
func (p *peers) greet(addr netip.AddrPort, node peer.ID) (*peer.Conn, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-p.running.Done():
		return nil, p.running.Err()
	}
	ctx, cancel := context.WithTimeout(p.running, dialTimeout)
	defer cancel()
	rows := p.c.o.Dial
	if node != (peer.ID{}) {
		rows = p.c.o.DialKeyed.Expecting(identity.ID(node))
	}
	p.mu.Lock()
	order := p.habits.order(rows, addr, time.Now())
	p.mu.Unlock()
	sess, err := order.Dial(ctx, addr.String())
	if err != nil {
		return nil, err
	}
	p.reached(rows, addr, sess.Scheme())
	conn, err := peer.Dial(ctx, sess, p.c.self, p.c)
	if err != nil {
		p.refuse(sess, err)
		return nil, err
	}
	return conn, nil
}

// reached counts the choice of a transport, and remembers one that is not the
// first.
func (p *peers) reached(rows transport.Table, addr netip.AddrPort, scheme string) {
	p.mu.Lock()
	fellBack := p.habits.learn(rows, addr, scheme, time.Now())
	p.mu.Unlock()
	if f := p.c.o.Observe.Chose; f != nil {
		f(scheme)
	}
	if !fellBack {
		return
	}
	p.c.log.Info("peer reached over another transport than the first", "peer", addr.String(), "transport", scheme, "first", rows[0].Scheme)
	if f := p.c.o.Observe.FellBack; f != nil {
		f(scheme)
	}
}

// keep runs a session until it ends, unless the pair has a better one. ids are
// the torrents that it was dialled for, at addr: which is not the peer's own word
// for where it is when something between the two forwards.
func (p *peers) keep(conn *peer.Conn, addr netip.AddrPort, ids []torrentfmt.ID) {
	var node peer.ID // whom another session with this peer would be with
	if conn.Proves() {
		node = conn.ID
	}
	if old := p.enter(conn, addr); old != nil {
		old.Close(wire.Error_ERROR_DUPLICATE) // which may be conn itself
	}
	for _, id := range ids {
		p.join(conn, id)
	}
	watch, cancel := context.WithCancel(p.running)
	p.c.wg.Go(func() { p.closeIdle(watch, conn) })
	conn.Run(p.running)
	cancel()
	p.leave(conn, addr)
	if peer.Replaced(conn.Err()) {
		p.moveTo(addr, node, conn.Wanted())
	}
}

// moveTo joins, over the session that stays, the torrents for which one that
// was replaced was wanted. The one that stays may not have entered here yet.
// When none comes, the next word of a tracker leads to another dial.
func (p *peers) moveTo(addr netip.AddrPort, node peer.ID, ids []torrentfmt.ID) {
	timer := time.NewTimer(dialTimeout)
	defer timer.Stop()
	for {
		p.mu.Lock()
		conn, entered := p.byAddr[addr], p.entered
		p.mu.Unlock()
		if is(conn, node) {
			for _, id := range ids {
				p.join(conn, id)
			}
			return
		}
		select {
		case <-entered:
		case <-timer.C:
			return
		case <-p.running.Done():
			return
		}
	}
}

// leave forgets a session that has ended.
func (p *peers) leave(conn *peer.Conn, addr netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID[conn.ID] == conn {
		delete(p.byID, conn.ID)
	}
	for _, a := range []netip.AddrPort{addr, conn.Addr} {
		if p.byAddr[a] == conn {
			delete(p.byAddr, a)
		}
	}
}

// enter decides which of two sessions with one peer stays, and returns the
// other. A second one in the same direction means that the peer, or the way to
// it, has gone and come back; from another host it may be somebody who has
// taken the ID, and does not count. One that proves the ID beats one that does
// not.
func (p *peers) enter(conn *peer.Conn, addr netip.AddrPort) (loser *peer.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.byID[conn.ID]
	if old != nil {
		if old.Proves() != conn.Proves() {
			if old.Proves() {
				return conn
			}
		} else if old.Dialed() != conn.Dialed() && old.Keeps() || old.Addr.Addr() != conn.Addr.Addr() {
			return conn
		}
	}
	p.byID[conn.ID] = conn
	for _, a := range []netip.AddrPort{addr, conn.Addr} {
		if at := p.byAddr[a]; at == nil || at == old || conn.Proves() || !at.Proves() {
			p.byAddr[a] = conn
		}
	}
	close(p.entered)
	p.entered = make(chan struct{})
	return old
}

// closeIdle ends a session that has had nothing to do for idleTimeout.
func (p *peers) closeIdle(ctx context.Context, conn *peer.Conn) {
	tick := time.NewTicker(idleTimeout / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if conn.Idle() > idleTimeout {
				conn.Close(wire.Error_ERROR_NONE)
				return
			}
		case <-conn.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
