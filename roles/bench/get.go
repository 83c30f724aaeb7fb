package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/mtor-dev/mtor/roles/bench/carry"
	"github.com/mtor-dev/mtor/roles/demo/process"
)

const (
	maxGetRounds = 1000
	getTimeout   = 10 * time.Minute // of one download
	nameEvery    = time.Millisecond // whether the file has its final name
)

// GetOptions say what to fetch, and how often.
type GetOptions struct {
	Exe       string // path of the mtor binary
	Dir       string // an empty folder for everything; its owner removes it
	Server    string // address of a carry.Server, the limit
	Source    string // path of the file that it serves, which the client shares
	Rounds    int    // 1 to 1,000
	Transport string // what the clients dial over
	Progress  io.Writer
}

// Check returns what is wrong with the options that a user gives.
func (o *GetOptions) Check() error {
	if o.Rounds < 1 || o.Rounds > maxGetRounds {
		return fmt.Errorf("%d rounds: want 1 to %d", o.Rounds, maxGetRounds)
	}
	return nil
}

// GetReport holds whole downloads against the bare pipeline.
type GetReport struct {
	Machine    string       `json:"machine"`
	FileSystem string       `json:"file_system"`
	Size       int64        `json:"size_bytes"`
	Rounds     int          `json:"rounds"`
	Transport  string       `json:"transport"`
	Get        carry.Spread `json:"get_mb_per_second"`
	Bare       carry.Spread `json:"bare_mb_per_second"`
	Ratio      carry.Spread `json:"speed_to_bare"`
	// CPU seconds for each GiB, of both clients and of both bare processes;
	// zero where the system does not tell.
	GetCPU   carry.Spread `json:"get_cpu_s_per_gib"`
	BareCPU  carry.Spread `json:"bare_cpu_s_per_gib"`
	CPURatio carry.Spread `json:"cpu_to_bare"`
}

// The targets, for both ratios.
const (
	wantGetSpeed = 0.85
	wantGetCPU   = 1.25
)

// getBench is one run.
type getBench struct {
	GetOptions
	bare            *carry.Bare
	sharer, fetcher *process.Process
}

// Get fetches a file with one client from another, two trackers beside them,
// and over the bare pipeline, in turn, each time into a fresh file that is
// synced. A download counts from the command to the final name.
func Get(ctx context.Context, o GetOptions) (_ *GetReport, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	x := &getBench{GetOptions: o}
	if x.bare, err = carry.NewBare(ctx, o.Server); err != nil {
		return nil, err
	}
	defer x.bare.Close()
	a, b, err := newPair(ctx, o.Exe, o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range []*process.Process{x.fetcher, x.sharer} {
			if p != nil {
				p.Kill()
			}
		}
		a.kill()
		b.kill()
	}()
	for _, n := range []*node{a, b} {
		if _, err := n.start(ctx); err != nil {
			return nil, err
		}
	}
	if x.sharer, err = x.client(ctx, "sharer", a, b); err != nil {
		return nil, err
	}
	if x.fetcher, err = x.client(ctx, "fetcher", a, b); err != nil {
		return nil, err
	}
	if _, err := x.sharer.Ask(ctx, fmt.Sprintf("share %q x.mtorrent", o.Source)); err != nil {
		return nil, err
	}
	return x.rounds(ctx)
}

func (x *getBench) client(ctx context.Context, name string, a, b *node) (*process.Process, error) {
	p, err := process.Start(process.Spec{
		Name: name, Exe: x.Exe, Dir: x.Dir,
		Args: []string{"client", "127.0.0.1:0", a.addr, b.addr, name + ".log", "--state", name, "--transport", x.Transport},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if _, err := p.Ready(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

func (x *getBench) rounds(ctx context.Context) (*GetReport, error) {
	r := &GetReport{
		Machine: carry.Machine(), FileSystem: carry.FileSystem(x.Dir), Size: x.bare.Size, Rounds: x.Rounds, Transport: x.Transport,
	}
	gib, mb := float64(r.Size)/(1<<30), float64(r.Size)/1e6
	var get, bare, ratio, getCPU, bareCPU, cpuRatio []float64
	for n := range x.Rounds {
		if x.Progress != nil {
			fmt.Fprintf(x.Progress, "round %d of %d ...\n", n+1, x.Rounds)
		}
		var took, cpu [2]time.Duration
		for i := range 2 {
			which := (i + n) % 2 // each begins as often as the other
			fetch := []func(context.Context, string) (time.Duration, time.Duration, error){x.get, x.bare.Fetch}[which]
			path := filepath.Join(x.Dir, fmt.Sprintf("copy-%d-%d", n, which))
			var err error
			if took[which], cpu[which], err = fetch(ctx, path); err != nil {
				return nil, err
			}
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
		get, bare = append(get, mb/took[0].Seconds()), append(bare, mb/took[1].Seconds())
		ratio = append(ratio, took[1].Seconds()/took[0].Seconds())
		getCPU, bareCPU = append(getCPU, cpu[0].Seconds()/gib), append(bareCPU, cpu[1].Seconds()/gib)
		cpuRatio = append(cpuRatio, cpu[0].Seconds()/max(cpu[1].Seconds(), clockStep.Seconds()))
	}
	r.Get, r.Bare, r.Ratio = carry.SpreadOf(get), carry.SpreadOf(bare), carry.SpreadOf(ratio)
	r.GetCPU, r.BareCPU, r.CPURatio = carry.SpreadOf(getCPU), carry.SpreadOf(bareCPU), carry.SpreadOf(cpuRatio)
	return r, nil
}

// clockStep is the finest that CPU times of other processes are told in.
const clockStep = 10 * time.Millisecond

// get downloads the file once, and has the client forget it.
func (x *getBench) get(ctx context.Context, path string) (took, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	// A copy each time: to remove a torrent is to delete its .mtorrent.
	torrent, err := os.ReadFile(filepath.Join(x.Dir, "x.mtorrent"))
	if err != nil {
		return 0, 0, err
	}
	if err := os.WriteFile(filepath.Join(x.Dir, "got.mtorrent"), torrent, 0o600); err != nil {
		return 0, 0, err
	}
	before := x.cpu()
	began := time.Now()
	if _, err := x.fetcher.Ask(ctx, fmt.Sprintf("get got.mtorrent %q", path)); err != nil {
		return 0, 0, err
	}
	tick := time.NewTicker(nameEvery)
	defer tick.Stop()
	for {
		_, err := os.Stat(path)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, 0, err
		}
		select {
		case <-tick.C:
		case <-x.fetcher.Done():
			return 0, 0, errors.New("the fetching client has ended")
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("wait for the download: %w", context.Cause(ctx))
		}
	}
	took = time.Since(began)
	cpu = x.cpu() - before
	// The file has its name before the client has said goodbye to the download.
	if _, err := x.fetcher.Ask(ctx, "wait"); err != nil {
		return 0, 0, err
	}
	_, err = x.fetcher.Ask(ctx, "remove got.mtorrent")
	return took, cpu, err
}

// cpu is what both clients have used so far; 0 where it cannot be told.
func (x *getBench) cpu() (sum time.Duration) {
	for _, p := range []*process.Process{x.sharer, x.fetcher} {
		t, _ := cpuOf(p.PID())
		sum += t
	}
	return sum
}

// Print writes the report as a table.
func (r *GetReport) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, files on %s\n%d MiB from one client to another over %s, two trackers beside them, from the command to the final name of a fresh file; bare: sendfile, read, SHA-1, write, the same sync and rename; %s in turn, median (min-max)\n\n",
		r.Machine, r.FileSystem, r.Size>>20, r.Transport, carry.Rounds(r.Rounds))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tMB/s\tCPU-s/GiB, BOTH ENDS")
	fmt.Fprintf(t, "bare\t%s\t%s\n", r.Bare.Text(0), r.BareCPU.Text(2))
	fmt.Fprintf(t, "get\t%s\t%s\n", r.Get.Text(0), r.GetCPU.Text(2))
	fmt.Fprintf(t, "get to bare\t%s\t%s\n", r.Ratio.Text(2), r.CPURatio.Text(2))
	fmt.Fprintf(t, "target\tat least %.2f\tat most %.2f\n", wantGetSpeed, wantGetCPU)
	return t.Flush()
}

// JSON writes the report for machines.
func (r *GetReport) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
