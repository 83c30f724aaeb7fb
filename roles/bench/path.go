package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/bench/carry"
	"github.com/mtor-dev/mtor/roles/bench/netpath"
	"github.com/mtor-dev/mtor/roles/demo/process"
	"github.com/mtor-dev/mtor/torrentfmt"
)

const (
	// ServeReady begins the line that says where mtor bench serve listens.
	ServeReady = "bench ready on "
	// pathReady bounds the start of the serving side, which makes its file.
	pathReady = 2 * time.Minute
	// pathPort is where it listens, in a network namespace of its own.
	pathPort = "7090"
	// maxPaths bounds the paths of one run.
	maxPaths = 64
	// besides is what a fetch takes at most beside its time: handshakes that are
	// repeated, and the end.
	besides = 30 * time.Second
)

// PathOptions say what to measure over which paths.
type PathOptions struct {
	Exe        string // path of the mtor binary
	Dir        string // an empty folder for everything; its owner removes it
	Paths      []netpath.Path
	Schemes    []string // of the transports; empty means all
	Congestion []string // controls of TCP; empty means the system's
	Rounds     int
	Streams    []int
	Peers      []int
	For        time.Duration // of each fetch
	Progress   io.Writer     // hears what is going on; may be nil
}

// Check returns what is wrong with the options that a user gives.
func (o *PathOptions) Check() error {
	if len(o.Paths) < 1 || len(o.Paths) > maxPaths {
		return fmt.Errorf("%d paths: want 1 to %d", len(o.Paths), maxPaths)
	}
	for _, p := range o.Paths {
		if err := p.Check(); err != nil {
			return err
		}
	}
	if o.For <= 0 {
		return errors.New("over an emulated path each fetch needs a time after which it ends")
	}
	if len(o.Congestion) > carry.MaxKinds {
		return fmt.Errorf("%d congestion controls: want %d at most", len(o.Congestion), carry.MaxKinds)
	}
	fetching := carry.Options{Rounds: o.Rounds, Streams: o.Streams, Peers: o.Peers, For: o.For}
	return fetching.Check()
}

// size is how much the fastest path can carry in the time.
func (o *PathOptions) size() int64 {
	most := int64(0)
	for _, p := range o.Paths {
		most = max(most, int64(float64(p.Rate)/8*o.For.Seconds()))
	}
	pieces := most/torrentfmt.PieceSize + 1
	return min(pieces*torrentfmt.PieceSize, carry.MaxSize)
}

// Path measures the transports over emulated paths: one process serves at the
// one end, another fetches at the other, as on two machines.
func Path(ctx context.Context, o PathOptions) (*PathReport, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	net, err := netpath.New(o.Paths[0])
	if err != nil {
		return nil, err
	}
	defer net.Close()
	server, addr, err := o.serve(ctx, net.Near)
	if err != nil {
		return nil, err
	}
	defer server.Kill()
	r := &PathReport{
		Machine: carry.Machine(), FileSystem: carry.FileSystem(o.Dir), Rounds: o.Rounds, For: o.For,
	}
	for i, p := range o.Paths {
		if err := net.Set(p); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			fmt.Fprintf(o.Progress, "path %d of %d: %s ...\n", i+1, len(o.Paths), describe(p))
		}
		before := net.Stats()
		measured, err := o.fetch(ctx, net.Far, addr)
		if err != nil {
			return nil, fmt.Errorf("over %s: %w", describe(p), err)
		}
		after := net.Stats()
		r.Paths = append(r.Paths, OverPath{
			Rate: p.Rate, RTT: p.RTT, Loss: p.Loss, Queue: p.Room(), Rows: measured.Rows,
			Carried: after.Carried - before.Carried, Lost: after.Lost - before.Lost, Dropped: after.Dropped - before.Dropped,
		})
	}
	return r, nil
}

// serve starts the serving side.
func (o *PathOptions) serve(ctx context.Context, at *netpath.Place) (p *process.Process, addr string, err error) {
	args := []string{"bench", "serve", at.IP + ":" + pathPort, "--dir", o.Dir, "--size", strconv.FormatInt(o.size(), 10)}
	if len(o.Congestion) > 0 {
		args = append(args, "--tcp-congestion", strings.Join(o.Congestion, ","))
	}
	err = at.Do(func() (err error) {
		p, err = process.Start(process.Spec{Name: "mtor bench serve", Exe: o.Exe, Dir: o.Dir, Args: args})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, pathReady)
	defer cancel()
	if addr, err = p.ReadyAs(ctx, ServeReady); err != nil {
		p.Kill()
		return nil, "", err
	}
	return p, addr, nil
}

// fetch runs the fetching side once, for all rounds.
func (o *PathOptions) fetch(ctx context.Context, at *netpath.Place, addr string) (*carry.Report, error) {
	args := []string{
		"bench", "transport", "--connect", addr, "--json", "--dir", o.Dir, "--for", o.For.String(),
		"--rounds", strconv.Itoa(o.Rounds), "--streams", list(o.Streams), "--peers", list(o.Peers),
		"--relay", strconv.Itoa(os.Getpid()),
	}
	if len(o.Schemes) > 0 {
		args = append(args, "--transports", strings.Join(o.Schemes, ","))
	}
	// Three transports, two of which with each congestion control, is what there
	// is at most.
	ways := (1 + 2*max(len(o.Congestion), 1)) * (1 + len(o.Streams)*len(o.Peers))
	ctx, cancel := context.WithTimeout(ctx, pathReady+time.Duration(o.Rounds*ways)*(o.For+besides))
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Exe, args...)
	var out, said bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.Dir, &out, &said
	if err := at.Do(cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("the fetching side: %w: %s", err, lastLine(said.String()))
	}
	r := new(carry.Report)
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		return nil, fmt.Errorf("the fetching side's report: %w", err)
	}
	return r, nil
}

func list(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func describe(p netpath.Path) string {
	return fmt.Sprintf("%s, %s there and back, loss %s", netpath.FormatRate(p.Rate), p.RTT, netpath.FormatLoss(p.Loss))
}

// ProcessCPU tells the CPU time that a process has used so far; 0 where the
// system does not tell.
func ProcessCPU(pid int) func() time.Duration {
	return func() time.Duration {
		t, _ := cpuOf(pid)
		return t
	}
}
