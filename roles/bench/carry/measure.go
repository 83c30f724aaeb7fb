package carry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// maxRounds bounds how often each way is measured.
const maxRounds = 1000

// Options say what to measure.
type Options struct {
	Addr     string // of a Server
	Dir      string // pieces are written to a file there, removed in the end
	Rounds   int    // of each way, 1 to 1,000
	Streams  []int  // in flight, each 1 to MaxStreams
	Table    transport.Table
	Progress io.Writer // hears what is going on; may be nil
}

// Check returns what is wrong with the options.
func (o *Options) Check() error {
	if o.Rounds < 1 || o.Rounds > maxRounds {
		return fmt.Errorf("%d rounds: want 1 to %d", o.Rounds, maxRounds)
	}
	if len(o.Streams) == 0 {
		return errors.New("say how many streams are to be in flight")
	}
	seen := map[int]bool{}
	for _, n := range o.Streams {
		if n < 1 || n > MaxStreams {
			return fmt.Errorf("%d streams in flight: want 1 to %d", n, MaxStreams)
		}
		if seen[n] {
			return fmt.Errorf("%d streams in flight are named twice", n)
		}
		seen[n] = true
	}
	return nil
}

// way is one of the ways to fetch the file.
type way struct {
	scheme  string
	streams int
	bare    bool
	fetch   func(context.Context, *clock) error
}

// round is what one fetch took.
type round struct {
	took, first, here, there time.Duration
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
	f := newFetcher(c, w, o.Table, &sink{file: file, digests: w.Digests}, slices.Max(o.Streams))
	if err := f.sink.touch(); err != nil {
		return nil, err
	}
	ways := f.ways(o.Streams)
	rounds := make([][]round, len(ways))
	for n := range o.Rounds {
		if o.Progress != nil {
			fmt.Fprintf(o.Progress, "round %d of %d ...\n", n+1, o.Rounds)
		}
		for i := range ways {
			at := (i + n) % len(ways)
			r, err := measure(ctx, c, ways[at])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ways[at].name(), err)
			}
			rounds[at] = append(rounds[at], r)
		}
	}
	report := newReport(o, w, ways, rounds)
	return report, nil
}

// ways are the ways to fetch: for each transport the bare one, if there is
// one, and the transport itself with so many streams.
func (f *fetcher) ways(streams []int) []way {
	var all []way
	bare := map[string]func(context.Context, *clock) error{"tcp": f.overBareTCP, "quic": f.overBareQUIC}
	for _, row := range f.table {
		if fetch := bare[row.Scheme]; fetch != nil {
			all = append(all, way{scheme: row.Scheme, bare: true, fetch: fetch})
		}
		for _, n := range streams {
			all = append(all, way{scheme: row.Scheme, streams: n, fetch: func(ctx context.Context, c *clock) error {
				return f.overTransport(ctx, row.Scheme, n, c)
			}})
		}
	}
	return all
}

func (w way) name() string {
	if w.bare {
		return "bare " + w.scheme
	}
	return w.scheme
}

func measure(ctx context.Context, c *control, w way) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	runtime.GC() // what the last round left is not this one's
	there, err := c.cpu()
	if err != nil {
		return round{}, err
	}
	here := cpuTime()
	k := &clock{began: time.Now()}
	if err := w.fetch(ctx, k); err != nil {
		return round{}, err
	}
	r := round{took: time.Since(k.began), first: k.first, here: cpuTime() - here}
	after, err := c.cpu()
	r.there = after - there
	return r, err
}
