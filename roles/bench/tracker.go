package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// TrackerOptions say what to drive, and how hard.
type TrackerOptions struct {
	Exe string // path of the mtor binary, for a pair of this run's own
	// Connect and Peer are the addresses of a running pair; its files are not
	// touched, and what needs that is not measured. Empty: an own pair.
	Connect, Peer string
	// Dir is the folder in which the own pair's files are made, which decides
	// the disk; empty: that for temporary files.
	Dir      string
	Sessions int           // client sessions, of one client each; 1 to 1,000
	Torrents int           // at least Sessions
	Rows     int           // new rows to write at full speed
	Duration time.Duration // of each timed phase
	Progress io.Writer     // hears what is going on; may be nil
}

// Check returns what is wrong with the options.
func (o *TrackerOptions) Check() error {
	switch {
	case o.Sessions < 1 || o.Sessions > 1000:
		return fmt.Errorf("%d sessions: want 1 to 1000", o.Sessions)
	case o.Torrents < o.Sessions:
		return fmt.Errorf("%d torrents: want at least %d, one for each session", o.Torrents, o.Sessions)
	case o.Rows < o.Torrents || o.Rows/o.Torrents >= o.Sessions:
		return fmt.Errorf("%d rows: want %d to %d, for %d torrents of %d clients", o.Rows, o.Torrents, o.Torrents*o.Sessions-1, o.Torrents, o.Sessions)
	case o.Duration < 100*time.Millisecond:
		return fmt.Errorf("a duration of %v: want at least 100ms", o.Duration)
	case (o.Connect == "") != (o.Peer == ""):
		return errors.New("give both trackers of the running pair")
	case o.Connect != "" && o.Dir != "":
		return errors.New("a folder is for an own pair: the running one has its files where they are")
	}
	return nil
}

// The targets, on a machine with two cores, load generator included.
const (
	wantRefreshes  = 150_000 // a second
	wantPeers      = 100_000
	wantNew        = 25_000
	wantLag        = 50 // milliseconds at the 99th percentile
	lagRate        = 20_000
	wantMemory     = 100 // bytes of live heap a row
	wantCatchUp    = 250_000
	wantStart      = 2 // seconds with a million rows
	peersInReply   = 50
	hotTorrents    = 100 // have a row of every session
	startIsForRows = 1_000_000
)

// trackerBench is one run.
type trackerBench struct {
	TrackerOptions
	Report
	a, b     *node // nil: a running pair is driven
	dir      string
	table    transport.Table
	sessions []*session
	listed   int
}

// Tracker measures a pair of trackers, and drives one of them.
func Tracker(ctx context.Context, o TrackerOptions) (_ *Report, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	x := &trackerBench{TrackerOptions: o, table: transport.Table{tcp.New(tcp.Options{})}}
	if x.dir, err = os.MkdirTemp(o.Dir, "mtor-bench-"); err != nil {
		return nil, fmt.Errorf("bench tracker: %w", err)
	}
	defer func() {
		x.hangUp()
		x.a.kill()
		x.b.kill()
		err = errors.Join(err, os.RemoveAll(x.dir))
	}()
	x.Machine = fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if fs := fileSystem(x.dir); fs != "" && o.Connect == "" {
		x.Machine += ", files on " + fs
	}
	x.Load = fmt.Sprintf("%d client sessions over TCP with one of two trackers, the load generator on the same machine; %d torrents, %d rows", o.Sessions, o.Torrents, o.Rows)
	if err := x.run(ctx); err != nil {
		return nil, fmt.Errorf("bench tracker: %w", err)
	}
	return &x.Report, nil
}

func (x *trackerBench) say(format string, args ...any) {
	if x.Progress != nil {
		fmt.Fprintf(x.Progress, format+"\n", args...)
	}
}

func (x *trackerBench) run(ctx context.Context) error {
	if x.Connect == "" {
		var err error
		if x.a, x.b, err = newPair(ctx, x.Exe, x.dir); err != nil {
			return err
		}
		x.Connect, x.Peer = x.a.addr, x.b.addr
		for _, n := range []*node{x.a, x.b} {
			if _, err := n.start(ctx); err != nil {
				return err
			}
		}
	}
	if err := x.connect(ctx); err != nil {
		return err
	}
	steps := []func(context.Context) error{x.newTorrents, x.newRows, x.refreshes, x.refreshesWithPeers, x.lag}
	if x.a != nil {
		steps = append(steps, x.catchUp, x.restart, x.memory)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// connect opens the sessions. Their clients share this machine's IP and have a
// port each, which nobody listens on.
func (x *trackerBench) connect(ctx context.Context) error {
	for i := range x.Sessions {
		// The tracker compares the IP with the session's source.
		s, err := dial(ctx, x.table, x.Connect, netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i+1)))
		if err != nil {
			return err
		}
		x.sessions = append(x.sessions, s)
	}
	return nil
}

func (x *trackerBench) hangUp() {
	for _, s := range x.sessions {
		_ = s.sess.Close()
	}
	x.sessions = nil
}

// phase drives all sessions and adds requests a second and CPU a request.
func (x *trackerBench) phase(ctx context.Context, name string, target float64, next func(i int) feed) error {
	x.say("%s ...", name)
	cpu, known := x.cpu()
	n, took, err := all(ctx, x.sessions, next)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	x.add(Figure{Name: name, Value: float64(n) / took.Seconds(), Unit: "requests/s", Target: target})
	if now, ok := x.cpu(); known && ok {
		x.add(Figure{Name: "  CPU of that tracker", Value: float64((now - cpu).Microseconds()) / float64(n), Unit: "us/request"})
	}
	return nil
}

func (x *trackerBench) cpu() (time.Duration, bool) {
	if x.a == nil {
		return 0, false
	}
	return cpuOf(x.a.PID())
}

// rowsEach is how many rows each torrent gets at full speed.
func (x *trackerBench) rowsEach() int { return max(1, x.Rows/x.Torrents) }

// newTorrents names every torrent once, by one of the sessions, and the hot
// ones by all.
func (x *trackerBench) newTorrents(ctx context.Context) error {
	err := x.phase(ctx, "new torrents, each with its hash string", 0, func(i int) feed {
		return x.sessions[i].once(share(i, x.Sessions, x.Torrents, 0, 1), hotTorrents, true)
	})
	if err != nil {
		return err
	}
	x.listed = x.Torrents
	hot := share(0, 1, hotTorrents, 0, 1)
	n, _, err := all(ctx, x.sessions, func(i int) feed { return x.sessions[i].once(hot, 0, true) })
	x.listed += n
	return err
}

func (x *trackerBench) newRows(ctx context.Context) error {
	rows := 0
	for i := range x.sessions {
		rows += len(share(i, x.Sessions, x.Torrents, 1, 1+x.rowsEach()))
	}
	x.listed += rows
	return x.phase(ctx, "new durable rows", wantNew, func(i int) feed {
		return x.sessions[i].once(share(i, x.Sessions, x.Torrents, 1, 1+x.rowsEach()), hotTorrents, false)
	})
}

func (x *trackerBench) refreshes(ctx context.Context) error {
	return x.phase(ctx, "refreshes", wantRefreshes, func(i int) feed {
		return x.sessions[i].again(share(i, x.Sessions, x.Torrents, 0, 1+x.rowsEach()), hotTorrents, 0, x.Duration)
	})
}

func (x *trackerBench) refreshesWithPeers(ctx context.Context) error {
	hot := share(0, 1, hotTorrents, 0, 1)
	name := fmt.Sprintf("announces with %d peers in the reply", min(peersInReply, x.Sessions-1))
	return x.phase(ctx, name, wantPeers, func(i int) feed {
		return x.sessions[i].again(hot, 0, peersInReply, x.Duration)
	})
}

// catchUp kills the other tracker, takes its file, and measures how long it
// takes to have everything again.
func (x *trackerBench) catchUp(ctx context.Context) error {
	x.say("catch-up ...")
	ctx, cancel := context.WithTimeout(ctx, stallTimeout)
	defer cancel()
	x.hangUp()
	x.b.kill()
	if err := os.Remove(x.b.file); err != nil {
		return err
	}
	began := time.Now()
	if _, err := x.b.start(ctx); err != nil {
		return err
	}
	if err := lists(ctx, x.b.admin, x.listed); err != nil {
		return err
	}
	took := time.Since(began)
	x.add(Figure{Name: "catch-up of an empty tracker, its start included", Value: float64(x.listed) / took.Seconds(), Unit: "rows/s", Target: wantCatchUp})
	x.add(Figure{Name: "  until it has all", Value: took.Seconds(), Unit: "s"})
	bare, err := x.bareStore(ctx, x.listed)
	if err != nil {
		return fmt.Errorf("bbolt alone: %w", err)
	}
	x.add(Figure{Name: "  bbolt alone, as many rows in order", Value: bare, Unit: "rows/s"})
	x.add(Figure{Name: "  catch-up to bbolt alone", Value: float64(x.listed) / took.Seconds() / bare, Unit: "times"})
	return nil
}

func (x *trackerBench) restart(ctx context.Context) error {
	x.say("start ...")
	if err := x.a.end(ctx); err != nil {
		return err
	}
	took, err := x.a.start(ctx)
	if err != nil {
		return err
	}
	f := Figure{Name: fmt.Sprintf("start with %d rows", x.listed), Value: took.Seconds(), Unit: "s", Below: true}
	if x.listed >= startIsForRows {
		f.Target = wantStart
	}
	x.add(f)
	return x.a.end(ctx)
}

// memory opens the file in this process, where the heap can be looked at.
func (x *trackerBench) memory(context.Context) error {
	x.say("memory ...")
	before := liveHeap()
	reg, err := registry.Open(x.a.file)
	if err != nil {
		return err
	}
	bytes := liveHeap() - before
	rows := reg.Stats().Rows
	x.add(Figure{
		Name:  fmt.Sprintf("live heap a row, %d rows of %d torrents", rows, reg.Stats().Torrents),
		Value: float64(bytes) / float64(rows), Unit: "bytes", Target: wantMemory, Below: true,
	})
	return reg.Close()
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers freed
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// percentile is the value that p of 100 do not exceed; 0 of none.
func percentile(values []float64, p int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
