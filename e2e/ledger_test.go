package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// sized is the real number when MTOR_LONG is set, as .ci/long does, and
// otherwise one that every change can wait for.
func sized(small, real int) int {
	if os.Getenv("MTOR_LONG") != "" {
		return real
	}
	return small
}

// ledger is what trackers have acknowledged: who must be listed for what, when
// all is over. Those who write into it announce nothing after that, so a
// tracker that loses what it has acknowledged is not helped out.
type ledger struct {
	mu    sync.Mutex
	rows  map[int]map[string]bool // torrent -> "ip:port whole" or "... part"
	ports int                     // given to clients so far
	lives int
	acks  int
	more  chan struct{} // closed and replaced at each acknowledgement
}

func newLedger() *ledger {
	return &ledger{rows: map[int]map[string]bool{}, more: make(chan struct{})}
}

func (l *ledger) acknowledged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks++
	close(l.more)
	l.more = make(chan struct{})
}

func (l *ledger) count() (acks int, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks, l.more
}

// port is one that no client of this ledger has had.
func (l *ledger) port() uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ports++
	return uint16(l.ports)
}

// progress waits for n more acknowledgements.
func (l *ledger) progress(s *swarm, n int) {
	s.Helper()
	from, more := l.count()
	for now := from; now < from+n; now, more = l.count() {
		select {
		case <-more:
		case <-s.ctx.Done():
			s.Fatalf("%d acknowledgements, then no more: %v", now, context.Cause(s.ctx))
		}
	}
}

// enter writes down how a life ended.
func (l *ledger) enter(x *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lives++
	for n, whole := range x.listed {
		if l.rows[n] == nil {
			l.rows[n] = map[string]bool{}
		}
		l.rows[n][x.line(whole)] = true
	}
}

// So many lives pick from the same torrents, one after the other, which keeps
// each list well below what one reply carries.
const (
	livesPerStretch    = 40
	torrentsPerStretch = 10
)

// content is the nth torrent's hash string: one piece.
func content(n int) []byte {
	d := sha1.Sum(fmt.Append(nil, "torrent ", n))
	return d[:]
}

func idOf(n int) torrentfmt.ID { return torrentfmt.HashID(content(n)) }

// life is a client that does a few things, at one tracker after the other,
// and then is silent for ever.
type life struct {
	addr     netip.AddrPort
	dial     transport.Table
	trackers []string // as this client reaches them
	at       int      // the tracker in use, or to try next
	conn     *announce.Conn
	stamp    uint64
	listed   map[int]bool // what it is listed for, whole or not
	ledger   *ledger
	rnd      *mrand.Rand
}

func (x *life) line(whole bool) string {
	if whole {
		return x.addr.String() + " whole"
	}
	return x.addr.String() + " part"
}

func (x *life) hangUp() {
	if x.conn != nil {
		x.conn.Close()
		x.conn = nil
	}
}

// try sends one request to the connected tracker.
func (x *life) try(ctx context.Context, req *wire.Request, hashes []byte) (wire.Error, error) {
	req.Addr, req.Stamp = x.addr.String(), x.stamp
	reply, err := x.conn.Do(ctx, req, hashes)
	x.stamp = max(x.stamp, reply.GetStamp())
	var refused *wire.CodeError
	if err != nil && (reply == nil || !errors.As(err, &refused)) {
		return 0, err
	}
	return reply.GetError(), nil
}

// announce lists the client for a torrent.
func (x *life) announce(ctx context.Context, n int, whole bool) error {
	id := idOf(n)
	a := &wire.Announce{TorrentId: id[:], Whole: whole}
	req := &wire.Request{Kind: &wire.Request_Announce{Announce: a}}
	code, err := x.try(ctx, req, nil)
	if code == wire.Error_ERROR_NEED_HASHES {
		a.Filename, a.Filesize, a.HashLength = fmt.Sprint("file-", n), 1, sha1.Size
		code, err = x.try(ctx, req, content(n))
	}
	return refusal(code, err)
}

func refusal(code wire.Error, err error) error {
	if err == nil && code != wire.Error_ERROR_NONE {
		return fmt.Errorf("refused: %v", code)
	}
	return err
}

// renew tells a tracker that was turned to what the client is listed for. Who
// is in doubt about one torrent leaves that out.
func (x *life) renew(ctx context.Context) error {
	for {
		var sum [sha1.Size]byte
		for n, whole := range x.listed {
			id := idOf(n)
			b := slices.Concat(id[:], []byte{0})
			if whole {
				b[sha1.Size] = 1
			}
			for i, d := range sha1.Sum(b) {
				sum[i] ^= d
			}
		}
		code, err := x.try(ctx, &wire.Request{Kind: &wire.Request_Renew{Renew: &wire.Renew{
			Torrents: uint32(len(x.listed)), Digest: sum[:],
		}}}, nil)
		if code != wire.Error_ERROR_NEED_LIST {
			return refusal(code, err)
		}
		for n, whole := range x.listed {
			if err := x.announce(ctx, n, whole); err != nil {
				return err
			}
		}
	}
}

// retryPause keeps clients from spinning while all trackers are down.
const retryPause = 10 * time.Millisecond

// until does something until a tracker has acknowledged it.
func (x *life) until(ctx context.Context, do func(context.Context) error) error {
	for ctx.Err() == nil {
		err := x.connect(ctx)
		if err == nil {
			err = do(ctx)
		}
		if err == nil {
			x.ledger.acknowledged()
			return nil
		}
		if strings.HasPrefix(err.Error(), "refused") {
			return err
		}
		x.hangUp()
		x.at = (x.at + 1) % len(x.trackers)
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

func (x *life) connect(ctx context.Context) error {
	if x.conn != nil {
		return nil
	}
	self := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), Agent: "e2e"}
	_, _ = rand.Read(self.NodeId)
	var err error
	if x.conn, err = announce.Dial(ctx, x.dial, x.trackers[x.at], self); err != nil {
		x.conn = nil
		return err
	}
	return x.renew(ctx)
}

// act does one thing, picked at random.
func (x *life) act(ctx context.Context, torrents int) error {
	n := torrents + x.rnd.IntN(torrentsPerStretch)
	switch dice := x.rnd.IntN(20); {
	case dice < 12:
		whole := x.listed[n] || x.rnd.IntN(2) == 0
		if err := x.until(ctx, func(ctx context.Context) error { return x.announce(ctx, n, whole) }); err != nil {
			return err
		}
		x.listed[n] = whole
	case dice < 16:
		id := idOf(n)
		delete(x.listed, n) // from here on it is not told of again
		return x.until(ctx, func(ctx context.Context) error {
			return refusal(x.try(ctx, &wire.Request{Kind: &wire.Request_Remove{Remove: &wire.Remove{TorrentId: id[:]}}}, nil))
		})
	case dice < 17:
		clear(x.listed)
		return x.until(ctx, func(ctx context.Context) error {
			return refusal(x.try(ctx, &wire.Request{Kind: &wire.Request_Leave{Leave: &wire.Leave{}}}, nil))
		})
	default:
		x.hangUp()
		x.at = x.rnd.IntN(len(x.trackers))
	}
	return nil
}

// town is clients living one after the other, at several addresses at once.
type town struct {
	s       *swarm
	ledger  *ledger
	ctx     context.Context
	closing context.CancelFunc
	wg      sync.WaitGroup
}

// settle starts living at the test's addresses from 10 on.
func (s *swarm) settle(l *ledger) *town {
	const addresses = 6
	t := &town{s: s, ledger: l}
	t.ctx, t.closing = context.WithCancel(s.ctx)
	var trackers []string
	for _, tr := range s.trackers {
		trackers = append(trackers, tr.addr)
	}
	for i := range addresses {
		ip := netip.MustParseAddr(s.ip(10 + i))
		t.wg.Go(func() {
			rnd := mrand.New(mrand.NewPCG(uint64(i), uint64(l.port())))
			table := transport.Table{tcp.New(tcp.Options{LocalIP: ip})}
			for t.ctx.Err() == nil {
				x := &life{
					addr: netip.AddrPortFrom(ip, l.port()), dial: table, trackers: trackers,
					at: rnd.IntN(len(trackers)), listed: map[int]bool{}, ledger: l, rnd: rnd,
				}
				if err := x.live(s.ctx); err != nil {
					s.Errorf("client %v: %v", x.addr, err)
					return
				}
			}
		})
	}
	return t
}

// live is a whole life.
func (x *life) live(ctx context.Context) error {
	defer x.hangUp()
	x.ledger.mu.Lock()
	torrents := x.ledger.lives / livesPerStretch * torrentsPerStretch
	x.ledger.mu.Unlock()
	for range 8 {
		if err := x.act(ctx, torrents); err != nil {
			return err
		}
	}
	x.ledger.enter(x)
	return nil
}

// close lets everybody live to the end.
func (t *town) close() {
	t.closing()
	t.wg.Wait()
}

// check waits until all trackers list exactly what the ledger says, and
// returns how long that took.
func (l *ledger) check(s *swarm) time.Duration {
	s.Helper()
	began := time.Now()
	l.mu.Lock()
	rows := maps.Clone(l.rows)
	lives, acks := l.lives, l.acks
	l.mu.Unlock()
	torrents := lives/livesPerStretch*torrentsPerStretch + torrentsPerStretch
	all := 0
	for n := range torrents {
		s.allList(idOf(n), slices.Sorted(maps.Keys(rows[n]))...)
		all += len(rows[n])
	}
	took := time.Since(began)
	s.Logf("%d clients, %d acknowledged requests, %d rows of %d torrents at every tracker after %v", lives, acks, all, torrents, took.Round(time.Millisecond))
	if all == 0 {
		s.Error("the ledger is empty: nothing was proven")
	}
	return took
}

// newPair lays out a swarm whose trackers get flags and are down.
func newPair(t *testing.T, flags ...string) *swarm {
	t.Helper()
	s := newSwarm(t, false, false)
	for _, tr := range s.trackers {
		tr.args = append(tr.args, flags...)
	}
	return s
}

func (s *swarm) startAll() {
	s.Helper()
	for _, tr := range s.trackers {
		tr.start()
	}
}

func TestNothingAcknowledgedIsLostToKills(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newPair(t, "--lease", "24h")
	s.startAll()
	l := newLedger()
	town := s.settle(l)
	kills := sized(20, 200)
	for k := range kills {
		// At a moment that no pattern of commits and rounds fits.
		l.progress(s, 20+k*7%50)
		x, y := s.trackers[k%2], s.trackers[1-k%2]
		x.Kill()
		if k%5 == 4 {
			y.Kill() // both at once: what either has acknowledged is on its disk
			y.start()
		}
		l.progress(s, 20)
		x.start()
	}
	town.close()
	l.check(s)
}

func TestPartitionedTrackersServeAndAgreeAfterwards(t *testing.T) {
	t.Parallel()
	heavy(t)
	for name, how := range map[string]struct{ toSecond, toFirst cut }{
		"refused both ways":   {refused, refused},
		"silent both ways":    {severed, severed},
		"first hears nothing": {passing, severed},
		"second is not heard": {mute, deaf},
	} {
		t.Run(name, func(t *testing.T) {
			s := newPair(t, "--lease", "24h")
			a, b := s.trackers[0], s.trackers[1]
			// Each dials the other through a relay at the other's IP, from its
			// own: that is where trackers are let pull from.
			toB := s.relay(s.ip(2), b.addr, s.ip(1))
			toA := s.relay(s.ip(1), a.addr, s.ip(2))
			a.args[2], b.args[2] = "tcp://"+toB.addr, "tcp://"+toA.addr
			s.startAll()
			l := newLedger()
			town := s.settle(l)
			for range sized(2, 10) {
				l.progress(s, 200)
				toB.set(how.toSecond)
				toA.set(how.toFirst)
				l.progress(s, sized(500, 5000)) // both serve, and clients move between them
				toB.set(passing)
				toA.set(passing)
			}
			town.close()
			l.check(s)
		})
	}
}

func TestWhatBothHaveAcknowledgedOutlivesALostDisk(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newPair(t, "--lease", "24h", "--ack", "peer")
	s.startAll()
	l := newLedger()
	for k := range sized(4, 20) {
		town := s.settle(l)
		l.progress(s, 100+k*7%50)
		x := s.trackers[k%2]
		x.Kill()
		if err := os.Remove(s.path(x.name + ".db")); err != nil {
			t.Fatal(err)
		}
		l.progress(s, 50)
		x.start()
		l.progress(s, 50)
		town.close()
		// Until both have the same, what the one that was left answered for
		// is on its disk alone.
		l.check(s)
	}
}
