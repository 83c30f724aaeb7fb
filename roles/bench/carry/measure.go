package carry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// maxRounds bounds how often each way is measured.
const maxRounds = 1000

// Options say what to measure.
type Options struct {
	Addr    string // of a Server
	Dir     string // pieces are written to a file there, removed in the end
	Rounds  int    // of each way, 1 to 1,000
	Streams []int  // in flight with each peer, 1 to MaxStreams
	Peers   []int  // at once, 1 or more; MaxStreams also bounds peers times streams
	Table   transport.Table
	// For ends each fetch after this time, with what has come by then; 0 waits
	// for the whole file.
	For time.Duration
	// Relay tells the CPU time of what emulates the path; nil without one.
	Relay    func() time.Duration
	Progress io.Writer // hears what is going on; may be nil
}

// Check returns what is wrong with the options.
func (o *Options) Check() error {
	if o.Rounds < 1 || o.Rounds > maxRounds {
		return fmt.Errorf("%d rounds: want 1 to %d", o.Rounds, maxRounds)
	}
	if o.For < 0 || o.For > roundTimeout/2 {
		return fmt.Errorf("%s for each fetch: want up to %s, or 0 for the whole file", o.For, roundTimeout/2)
	}
	for what, list := range map[string][]int{"pieces in flight": o.Streams, "peers": o.Peers} {
		if len(list) == 0 {
			return fmt.Errorf("say how many %s there are to be", what)
		}
		seen := map[int]bool{}
		for _, n := range list {
			if n < 1 || n > MaxStreams {
				return fmt.Errorf("%d %s: want 1 to %d", n, what, MaxStreams)
			}
			if seen[n] {
				return fmt.Errorf("%d %s are named twice", n, what)
			}
			seen[n] = true
		}
	}
	if n := slices.Max(o.Streams) * slices.Max(o.Peers); n > MaxStreams {
		return fmt.Errorf("%d pieces in flight with all peers together: want %d at most", n, MaxStreams)
	}
	return nil
}

// way is one of the ways to fetch the file.
type way struct {
	scheme         string
	congestion     string // empty is the system's, or none
	port           int    // 0 for what is bare
	streams, peers int
	bare           bool
}

// round is what one fetch took.
type round struct {
	took, first, here, there, relay time.Duration
	got                             int64
	memory                          int64   // bytes that the fetching process grew by
	idle                            float64 // part of the machine's processors; negative if it cannot be told
}

// Measure fetches the file in every way, round after round: a machine that
// gets slower in the meantime does so for all. Each round begins with another
// way.
func Measure(ctx context.Context, o Options) (_ *Report, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	c, w, err := callServer(ctx, o.Addr)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	file, err := os.CreateTemp(o.Dir, "mtor-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	f := newFetcher(c, w, o.Table, &sink{file: file, digests: w.Digests})
	if err := f.sink.touch(); err != nil {
		return nil, err
	}
	ways := f.ways(o)
	rounds := make([][]round, len(ways))
	for n := range o.Rounds {
		if o.Progress != nil {
			fmt.Fprintf(o.Progress, "round %d of %d ...\n", n+1, o.Rounds)
		}
		for i := range ways {
			at := (i + n) % len(ways)
			r, err := f.measure(ctx, c, o, ways[at])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ways[at].name(), err)
			}
			rounds[at] = append(rounds[at], r)
		}
	}
	report := newReport(o, w, ways, rounds)
	return report, nil
}

// ways are the ways to fetch: for each transport, and each congestion control of
// TCP, the bare one, if there is one, and the transport itself with so many
// streams and peers.
func (f *fetcher) ways(o Options) []way {
	var all []way
	for _, row := range f.table {
		for i, k := range f.kinds {
			w := way{scheme: row.Scheme, congestion: k.Congestion, peers: 1}
			if row.Scheme == quic.Scheme {
				if i > 0 {
					break
				}
				w.congestion = ""
			}
			if f.bare(w.scheme) != nil {
				w.bare = true
				all = append(all, w)
				w.bare = false
			}
			w.port = k.Port
			for _, w.peers = range o.Peers {
				for _, w.streams = range o.Streams {
					all = append(all, w)
				}
			}
		}
	}
	return all
}

// bare is how to fetch over what lies below a transport; nil if that is
// unknown.
func (f *fetcher) bare(scheme string) func(context.Context, way, *clock) error {
	switch scheme {
	case tcp.Scheme, tcp.SchemeTLS:
		return f.overBareTCP
	case quic.Scheme:
		return f.overBareQUIC
	}
	return nil
}

func (w way) name() string {
	name := w.scheme
	if w.congestion != "" {
		name += " " + w.congestion
	}
	if w.bare {
		return "bare " + name
	}
	return name
}

// errEnough is why a fetch ends whose time is over.
var errEnough = errors.New("it was measured for long enough")

func (f *fetcher) measure(ctx context.Context, c *control, o Options, w way) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	fetch := f.overTransport
	if w.bare {
		fetch = f.bare(w.scheme)
	}
	f.buffers = storage.NewBuffers(sized(w.streams * w.peers))
	debug.FreeOSMemory() // what the last round left is not this one's
	there, err := c.cpu()
	if err != nil {
		return round{}, err
	}
	relay := func() time.Duration { return 0 }
	if o.Relay != nil {
		relay = o.Relay
	}
	fetching := ctx
	if o.For > 0 {
		var enough context.CancelFunc
		fetching, enough = context.WithTimeoutCause(ctx, o.For, errEnough)
		defer enough()
	}
	memory, idle := watchMemory(), watchIdle()
	here, onRelay := cpuTime(), relay()
	k := &clock{began: time.Now()}
	err = fetch(fetching, w, k)
	if over, ok := fetching.Deadline(); ok && !time.Now().Before(over) {
		<-fetching.Done() // a dial's own timer for the same moment may have been first
	}
	r := round{
		took: time.Since(k.began), first: k.first, got: k.got.Load(),
		here: cpuTime() - here, relay: relay() - onRelay, memory: memory(), idle: idle(),
	}
	if err != nil && !errors.Is(context.Cause(fetching), errEnough) {
		return round{}, err
	}
	after, err := c.cpu()
	r.there = after - there
	return r, err
}
