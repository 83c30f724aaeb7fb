package main

import (
	"errors"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/bench"
)

func newBenchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast this machine is at it",
	}
	cmd.AddCommand(newBenchTrackerCmd(), newBenchTransportCmd(), newBenchPathCmd(), newBenchGetCmd(), newBenchServeCmd(), newBenchSwarmCmd())
	return cmd
}

func newBenchTrackerCmd() *cobra.Command {
	var asJSON bool
	var profile string
	o := bench.TrackerOptions{}
	cmd := &cobra.Command{
		Use:   "tracker",
		Short: "Measure a pair of trackers",
		Long: `Starts two trackers on 127.0.0.1 in a temporary folder and drives one of them
with client sessions over TCP, as hard as it goes: new torrents, new rows,
refreshes, announces with peers in the reply, and new rows at a fixed pace while
a probe looks at the other tracker for changes. Then one tracker starts empty
and catches up, the other starts again on its file, and the live heap of a row
is measured. Beside the sync lag stands how long the same disk takes for a sync
meanwhile, beside the catch-up how fast the database alone writes as many rows:
--dir takes another disk, or memory. Each figure stands beside its target, which is for two cores with
the load generator on them.

With --connect and --peer a running pair is driven instead. What it lists
afterwards goes when the lease ends; its torrents stay known, so take one that
is there to be measured.

Exit codes: 0 measured (whatever the figures), 1 failed, 2 wrong usage, 130
interrupted.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return usageError(err)
			}
			var err error
			if o.Exe, err = os.Executable(); err != nil {
				return err
			}
			o.Progress = cmd.ErrOrStderr()
			var r *bench.Report
			err = profiled(profile, func() error {
				r, err = bench.Tracker(cmd.Context(), o)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return r.JSON(cmd.OutOrStdout())
			}
			return r.Print(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "answer as one JSON object")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile of the load generator here")
	f.StringVar(&o.Connect, "connect", "", "drive the running tracker at this ip:port")
	f.StringVar(&o.Peer, "peer", "", "the other tracker of the running pair")
	f.StringVar(&o.Dir, "dir", "", "folder for the trackers' files, which decides the disk (default: that for temporary files)")
	f.IntVar(&o.Sessions, "sessions", 64, "client sessions")
	f.IntVar(&o.Torrents, "torrents", 100_000, "torrents")
	f.IntVar(&o.Rows, "rows", 1_000_000, "new rows to write at full speed")
	f.DurationVar(&o.Duration, "duration", 5*time.Second, "length of each timed phase")
	return cmd
}

// profiled runs what is measured, and writes its CPU profile to a file if one
// is named.
func profiled(path string, run func() error) error {
	if path == "" {
		return run()
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = run()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}
