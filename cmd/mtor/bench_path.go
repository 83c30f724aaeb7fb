package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/bench"
	"github.com/mtor-dev/mtor/roles/bench/netpath"
)

func newBenchPathCmd() *cobra.Command {
	var asJSON bool
	var dir, plot, queue string
	var rates, losses []string
	var rtt time.Duration
	o := bench.PathOptions{}
	cmd := &cobra.Command{
		Use:   "path",
		Short: "Measure the transports over an emulated long line",
		Long: `Does what "mtor bench transport" does, between two network namespaces of this
machine that are joined by a path of the given rate, round-trip time, loss and
queue: TCP with each congestion control that this machine has, TLS and QUIC, with
one peer and with several, and what lies bare below them. A relay in this process
carries every packet from the one namespace to the other. Nothing of the machine's
own network is touched, and all of it is gone when the command ends.

Each fetch ends after --for, with what has come by then: all of it takes about that
time for each row of the table and round. A row whose figure was bounded by the
processors rather than by the path says so.

It needs Linux, root and /dev/net/tun.

Exit codes: 0 measured (whatever the figures), 1 failed, 2 wrong usage, 130
interrupted.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Paths, err = paths(rates, losses, rtt, queue); err != nil {
				return usageError(err)
			}
			if err := o.Check(); err != nil {
				return usageError(err)
			}
			if _, err := benchTable(o.Schemes, cmd.ErrOrStderr()); err != nil {
				return usageError(err)
			}
			if err := netpath.Check(); err != nil {
				return fmt.Errorf("bench path: %w", err)
			}
			o.Progress = cmd.ErrOrStderr()
			r, err := benchPath(cmd, o, tempDir(dir))
			if err != nil {
				return fmt.Errorf("bench path: %w", err)
			}
			return showBench(cmd.OutOrStdout(), r, asJSON, plot)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "answer as one JSON object")
	f.StringVar(&plot, "plot", "", "draw the figures into this file (SVG)")
	f.StringSliceVar(&rates, "rate", []string{"100Mbit", "1Gbit"}, "what the line carries a second, each way")
	f.StringSliceVar(&losses, "loss", []string{"0", "0.1%", "1%"}, "part of the packets that is lost, each way")
	f.DurationVar(&rtt, "rtt", 40*time.Millisecond, "round-trip time of a packet that does not queue")
	f.StringVar(&queue, "queue", "", "bytes that wait before the line at most (default what it carries in one round trip)")
	f.StringSliceVar(&o.Congestion, "tcp-congestion", []string{"cubic", "bbr"}, "congestion controls of TCP")
	f.StringSliceVar(&o.Schemes, "transports", nil, "what to measure: tcp,tls,quic (default all)")
	f.IntSliceVar(&o.Streams, "streams", []int{16}, "pieces in flight with each peer, 1 to 64")
	f.IntSliceVar(&o.Peers, "peers", []int{1, 4}, "sessions to share the file between")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds")
	f.DurationVar(&o.For, "for", 5*time.Second, "how long each fetch goes on")
	f.StringVar(&dir, "dir", "", "folder of the files (default the system's for temporary ones)")
	return cmd
}

// paths are all rates with all losses.
func paths(rates, losses []string, rtt time.Duration, queue string) (all []netpath.Path, err error) {
	p := netpath.Path{RTT: rtt}
	if queue != "" {
		n, err := humanize.ParseBytes(queue)
		if err != nil || n == 0 || n > netpath.MaxHeld {
			return nil, fmt.Errorf("--queue: %q is not a size such as 500kB", queue)
		}
		p.Queue = int64(n)
	}
	for _, rate := range rates {
		if p.Rate, err = netpath.ParseRate(rate); err != nil {
			return nil, fmt.Errorf("--rate: %w", err)
		}
		for _, loss := range losses {
			if p.Loss, err = netpath.ParseLoss(loss); err != nil {
				return nil, fmt.Errorf("--loss: %w", err)
			}
			all = append(all, p)
		}
	}
	return all, nil
}

func benchPath(cmd *cobra.Command, o bench.PathOptions, dir string) (r *bench.PathReport, err error) {
	if o.Exe, err = os.Executable(); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil { // the processes have another working directory
		return nil, err
	}
	if o.Dir, err = os.MkdirTemp(dir, "mtor-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	return bench.Path(cmd.Context(), o)
}
