package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// SwarmOptions say what swarm to run.
type SwarmOptions struct {
	Exe         string    // path of the mtor binary
	Downloaders int       // 1 to 50
	Size        int64     // of the file, in bytes; at least 1 MiB
	Limit       int64     // of the seeder in the limited runs, in bytes a second; at least 1 MiB
	Progress    io.Writer // hears what is going on; may be nil
}

// Check returns what is wrong with the options.
func (o *SwarmOptions) Check() error {
	switch {
	case o.Downloaders < 1 || o.Downloaders > 50:
		return fmt.Errorf("%d downloaders: want 1 to 50", o.Downloaders)
	case o.Size < 1<<20:
		return fmt.Errorf("a file of %d bytes: want at least 1 MiB", o.Size)
	case o.Limit < 1<<20:
		return fmt.Errorf("a limit of %d bytes a second: want at least 1 MiB", o.Limit)
	}
	return nil
}

const (
	// wantSwarm is within how many times the ideal all are to be whole.
	wantSwarm = 1.15
	// wantFast is within how many times the ideal so many plain gets, one after
	// the other, would take, all are to be whole without a limit.
	wantFast = 1
	// wantSent is how many times the file the limited seeder is to send at most.
	wantSent = 1.3
	// churnEvery is how often a downloader is killed.
	churnEvery = time.Second
	// swarmTimeout bounds one run.
	swarmTimeout = 10 * time.Minute
)

// swarmBench is one measurement.
type swarmBench struct {
	SwarmOptions
	Report
	dir  string
	file string // the original
	sum  [sha256.Size]byte
}

// Swarm measures how long a file takes from one seeder to all downloaders, each a
// process of its own, and compares every copy.
func Swarm(ctx context.Context, o SwarmOptions) (_ *Report, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	x := &swarmBench{SwarmOptions: o}
	if x.dir, err = os.MkdirTemp("", "mtor-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(x.dir)) }()
	x.Machine = fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	x.Load = fmt.Sprintf("a file of %d MiB from one seeder to %d downloaders over loopback, each a process; every copy compared", o.Size>>20, o.Downloaders)
	if err := x.run(ctx); err != nil {
		return nil, fmt.Errorf("bench swarm: %w", err)
	}
	return &x.Report, nil
}

func (x *swarmBench) run(ctx context.Context) error {
	if err := x.write(); err != nil {
		return err
	}
	one, err := x.play(ctx, "one plain get", 1, 0, false)
	if err != nil {
		return err
	}
	x.add(Figure{Name: "one downloader, no limit", Value: one.took.Seconds(), Unit: "s"})
	if err := x.unlimited(ctx, one.took); err != nil {
		return err
	}
	return x.limited(ctx)
}

// unlimited measures a swarm that only this machine bounds. The copies are made
// once for nothing, so that neither they nor the swarm pay for memory that a
// virtual machine has not been given yet.
func (x *swarmBench) unlimited(ctx context.Context, one time.Duration) error {
	if _, _, err := x.copies(ctx); err != nil {
		return err
	}
	bare, bareCPU, err := x.copies(ctx)
	if err != nil {
		return err
	}
	all, err := x.play(ctx, "no limit", x.Downloaders, 0, false)
	if err != nil {
		return err
	}
	x.add(Figure{Name: "all, no limit", Value: all.took.Seconds(), Unit: "s"})
	x.add(Figure{Name: "  beside as many gets, one after the other", Value: all.took.Seconds() / one.Seconds() / float64(x.Downloaders), Unit: "times", Target: wantFast, Below: true})
	x.add(Figure{Name: "  beside as many copies hashed and written, no network", Value: all.took.Seconds() / bare.Seconds(), Unit: "times"})
	if all.cpu > 0 && bareCPU > 0 {
		x.add(Figure{Name: "  CPU of all clients", Value: all.cpu.Seconds(), Unit: "s"})
		x.add(Figure{Name: "  CPU beside that of as many copies", Value: all.cpu.Seconds() / bareCPU.Seconds(), Unit: "times"})
	}
	x.add(Figure{Name: "  seeder sent, x file", Value: all.sent, Unit: "times"})
	x.add(Figure{Name: "  downloaders received, x file each", Value: all.received, Unit: "times"})
	return nil
}

// limited measures swarms that the seeder's line bounds.
func (x *swarmBench) limited(ctx context.Context) error {
	ideal := float64(x.Size) / float64(x.Limit)
	for _, churn := range []bool{false, true} {
		name := fmt.Sprintf("all, seeder limited to %.3g MB/s", float64(x.Limit)/1e6)
		if churn {
			name += ", one killed every second"
		}
		r, err := x.play(ctx, name, x.Downloaders, x.Limit, churn)
		if err != nil {
			return err
		}
		x.add(Figure{Name: name, Value: r.took.Seconds(), Unit: "s"})
		f := Figure{Name: "  beside the ideal, size / limit", Value: r.took.Seconds() / ideal, Unit: "times", Target: wantSwarm, Below: true}
		if churn {
			f.Target = 0
			x.add(Figure{Name: "  killed and restarted", Value: float64(r.killed), Unit: "times"})
		}
		x.add(f)
		x.add(Figure{Name: "  seeder sent, x file", Value: r.sent, Unit: "times", Target: wantSent, Below: true})
		if r.cpu > 0 {
			x.add(Figure{Name: "  CPU of all clients", Value: r.cpu.Seconds(), Unit: "s"})
		}
	}
	return nil
}

// write makes the file to be shared, of random bytes.
func (x *swarmBench) write() (err error) {
	x.file = filepath.Join(x.dir, "data")
	f, err := os.Create(x.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{}), x.Size); err != nil {
		return err
	}
	x.sum = [sha256.Size]byte(h.Sum(nil))
	return nil
}

// played is what one run gave.
type played struct {
	took time.Duration // from the first get to the last that is whole
	cpu  time.Duration // of all clients; 0 where it is not known
	sent float64       // by the seeder, as a multiple of the file
	// received is what the downloaders that were never killed received, as a
	// multiple of the file for each.
	received float64
	killed   int
}

// play runs one swarm, from new trackers to compared copies.
func (x *swarmBench) play(ctx context.Context, name string, downloaders int, limit int64, churn bool) (r played, err error) {
	if x.Progress != nil {
		fmt.Fprintln(x.Progress, name, "...")
	}
	ctx, cancel := context.WithTimeout(ctx, swarmTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(x.dir, "run-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, b, err := newPair(ctx, x.Exe, dir)
	if err != nil {
		return r, err
	}
	defer a.kill()
	defer b.kill()
	for _, n := range []*node{a, b} {
		if _, err := n.start(ctx); err != nil {
			return r, err
		}
	}
	var clients []*downloader
	defer func() {
		for _, d := range clients {
			d.kill()
		}
	}()
	for i := range downloaders + 1 {
		own := int64(0)
		if i == 0 {
			own = limit
		}
		d, err := x.newDownloader(ctx, dir, i, [2]string{a.addr, b.addr}, own)
		if err != nil {
			return r, err
		}
		if err := d.start(ctx); err != nil {
			return r, err
		}
		clients = append(clients, d)
	}
	seeder, getters := clients[0], clients[1:]
	torrent := filepath.Join(dir, "data.mtorrent")
	if _, err := seeder.Ask(ctx, fmt.Sprintf("share %q %q", x.file, torrent)); err != nil {
		return r, err
	}
	began := time.Now()
	var work errgroup.Group
	stop := make(chan struct{})
	churned := make(chan error, 1)
	for _, d := range getters {
		work.Go(func() error { return d.get(ctx, torrent) })
	}
	go func() {
		var err error
		if churn {
			r.killed, err = killSome(ctx, getters, stop)
		}
		churned <- err
	}()
	err = work.Wait()
	r.took = time.Since(began)
	close(stop)
	if err := errors.Join(err, <-churned); err != nil {
		return r, err
	}
	if err := x.count(ctx, seeder, getters, &r); err != nil {
		return r, err
	}
	for _, d := range getters {
		if err := x.compare(d.copy()); err != nil {
			return r, err
		}
	}
	return r, nil
}

// count takes what the clients used and counted.
func (x *swarmBench) count(ctx context.Context, seeder *downloader, getters []*downloader, r *played) error {
	r.cpu = seeder.cpu()
	c, err := countersOf(ctx, seeder.metrics)
	if err != nil {
		return err
	}
	r.sent = c.sum(sentBytes) / float64(x.Size)
	for _, d := range getters {
		r.cpu += d.cpu()
		if c, err = countersOf(ctx, d.metrics); err != nil {
			return err
		}
		r.received += c.sum(receivedBytes) / float64(x.Size) / float64(len(getters))
	}
	return nil
}

// killSome kills and restarts an unfinished downloader every so often.
func killSome(ctx context.Context, all []*downloader, stop <-chan struct{}) (killed int, err error) {
	tick := time.NewTicker(churnEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			hit, err := all[rand.IntN(len(all))].restart(ctx)
			if err != nil {
				return killed, err
			}
			if hit {
				killed++
			}
		case <-stop:
			return killed, nil
		case <-ctx.Done():
			return killed, context.Cause(ctx)
		}
	}
}

// compare fails unless a copy is the original's equal.
func (x *swarmBench) compare(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != x.sum {
		return fmt.Errorf("%s differs from the original", path)
	}
	return nil
}
