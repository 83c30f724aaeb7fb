package sim

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/transport/transporttest"
)

const (
	// PieceSize is the length of a stand-in piece in bytes.
	PieceSize = 1 << 10
	// Scale is how many times a real piece is longer: rates are divided by it.
	Scale = 512
	// named is how many peers the tracker names in one reply.
	named = 200
	// held is how many bytes a second a holder sends.
	held = 0.01
	// downtime is how long a killed client is away.
	downtime = 500 * time.Millisecond
)

// Scenario is one swarm. Rates are in real bytes a second.
type Scenario struct {
	Pieces  int
	Clients int           // beside the seeder
	Within  time.Duration // all join within this time, evenly; 0 is a flash crowd
	Seeder  float64       // the seeder's line out; 0 is no limit
	Up      float64       // each client's line out
	Down    float64       // each client's line in
	Latency time.Duration // one way
	Degree  int           // how many peers a client dials
	Limit   time.Duration // the swarm must be done by then; 0 is an hour
	// Partial is how many clients begin with a random half of the pieces.
	Partial int
	// Holders is how many peers beside say that they have everything, take
	// requests, and send nothing.
	Holders int
	// Away is for how long the seeder leaves in the middle, when half of the
	// ideal time has passed; 0 is never.
	Away time.Duration
	// Churn kills a random unfinished client every so often, which joins again
	// half a second later with the pieces that it has; 0 is never.
	Churn time.Duration
}

// Result is what came out.
type Result struct {
	Ideal     time.Duration   // when the last client could have been done
	Done      []time.Duration // by client: when it was whole
	Last      time.Duration
	Sent      float64 // bytes that the seeder sent, as a multiple of the file
	Killed    int
	Unwhole   int // clients that were not whole at the limit
	Transfers int64
}

// Ratio is the time of the last client as a multiple of the ideal.
func (r Result) Ratio() float64 { return r.Last.Seconds() / r.Ideal.Seconds() }

// Ideal is the shortest time in which a file can reach every client: bound by
// the seeder's line, by a client's own, or by all lines out together. Where
// clients begin with halves, the seeder need not send what one of them has.
func (sc Scenario) Ideal() time.Duration {
	bytes := float64(sc.Pieces) * PieceSize * Scale
	n := float64(sc.Clients)
	var worst float64
	if sc.Seeder > 0 {
		worst = bytes / sc.Seeder * math.Pow(0.5, float64(sc.Partial))
		if sc.Up > 0 {
			missing := bytes * (n - float64(sc.Partial)/2)
			worst = max(worst, missing/(sc.Seeder+n*sc.Up))
		}
	}
	if sc.Down > 0 {
		most := bytes
		if sc.Partial >= sc.Clients {
			most /= 2
		}
		worst = max(worst, most/sc.Down)
	}
	return seconds(worst) + sc.Away
}

// world is a running swarm.
type world struct {
	Scenario
	content *content
	network *transporttest.Network
	start   time.Time
	all     []*node

	mu      sync.Mutex
	present []*node
	at      map[netip.Addr]*node
	pairs   map[[2]int]bool
}

func (w *world) now() time.Duration { return time.Since(w.start) }

// enter lists a node at the tracker.
func (w *world) enter(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.present = append(w.present, n)
	w.at[n.addr.Addr()] = n
}

func (w *world) leave(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.present {
		if other == n {
			w.present = append(w.present[:i], w.present[i+1:]...)
			break
		}
	}
	delete(w.at, n.addr.Addr())
}

// name is a tracker's reply: a random sample of those who are there.
func (w *world) name(n *node) []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*node, 0, len(w.present))
	for _, other := range w.present {
		if other != n {
			list = append(list, other)
		}
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), named)]
}

func (w *world) byAddr(addr string) *node {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[at.Addr()]
}

// pair marks two nodes as connected, unless they are: one session a pair is
// what the client sees to.
func (w *world) pair(a, b *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]int{min(a.index, b.index), max(a.index, b.index)}
	if w.pairs[key] {
		return false
	}
	w.pairs[key] = true
	return true
}

func (w *world) unpair(a, b *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pairs, [2]int{min(a.index, b.index), max(a.index, b.index)})
}

// Run plays a scenario and returns what came out.
func Run(t *testing.T, sc Scenario) Result {
	t.Helper()
	var r Result
	synctest.Test(t, func(t *testing.T) { r = play(t, sc) })
	return r
}

func play(t *testing.T, sc Scenario) Result {
	if sc.Limit == 0 {
		sc.Limit = time.Hour
	}
	w := &world{
		Scenario: sc, content: newContent(sc.Pieces, PieceSize), network: transporttest.NewNetwork(),
		start: time.Now(), at: make(map[netip.Addr]*node), pairs: make(map[[2]int]bool),
	}
	all := bitset.New(uint(sc.Pieces)).FlipRange(0, uint(sc.Pieces))
	seeder := w.newNode(newHost(sc.Seeder/Scale, 0, sc.Latency), all)
	if err := seeder.start(); err != nil {
		t.Fatal(err)
	}
	var clients []*node
	for i := range sc.Clients {
		have := bitset.New(uint(sc.Pieces))
		if i < sc.Partial {
			for p := range sc.Pieces {
				have.SetTo(uint(p), rand.IntN(2) == 0)
			}
		}
		clients = append(clients, w.newNode(newHost(sc.Up/Scale, sc.Down/Scale, sc.Latency), have))
	}
	for range sc.Holders {
		if err := w.newNode(newHost(held, 0, sc.Latency), all).start(); err != nil {
			t.Fatal(err)
		}
	}

	for _, n := range clients {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		wait(sc.Within / time.Duration(sc.Clients))
	}
	r := Result{Ideal: sc.Ideal()}
	limit := time.After(sc.Limit - w.now())
	var churn <-chan time.Time
	if sc.Churn > 0 {
		ticker := time.NewTicker(sc.Churn)
		defer ticker.Stop()
		churn = ticker.C
	}
	var leaves, comes <-chan time.Time
	if sc.Away > 0 {
		leaves = time.After((sc.Ideal() - sc.Away) / 2)
	}
	over := false
	for i := 0; i < len(clients) && !over; {
		select {
		case <-clients[i].whole:
			i++
		case <-churn:
			k := i + rand.IntN(len(clients)-i)
			if clients[k].file.Whole() {
				continue
			}
			again, err := w.restart(clients[k])
			if err != nil {
				t.Fatal(err)
			}
			clients[k] = again
			r.Killed++
		case <-leaves:
			seeder.end(true)
			comes = time.After(sc.Away)
		case <-comes:
			seeder = w.newNode(seeder.line, all)
			if err := seeder.start(); err != nil {
				t.Fatal(err)
			}
		case <-limit:
			over = true
		}
	}
	for _, n := range clients {
		if !n.file.Whole() {
			r.Unwhole++
		}
	}
	for _, n := range w.all {
		n.end(false)
	}
	for _, n := range clients {
		r.Done = append(r.Done, n.ended-n.began)
		r.Last = max(r.Last, n.ended)
		r.Transfers += n.line.bytesSent() / PieceSize
	}
	r.Sent = float64(seeder.line.bytesSent()) / float64(len(w.content.data))
	return r
}

// restart kills a node, which comes back as a new one with the pieces it had.
func (w *world) restart(old *node) (*node, error) {
	old.end(true)
	wait(downtime)
	n := w.newNode(old.line, old.file.Have())
	err := n.start()
	n.began = old.began
	return n, err
}
