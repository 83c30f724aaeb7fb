package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/bench"
	"github.com/mtor-dev/mtor/units"
)

func newBenchSwarmCmd() *cobra.Command {
	var asJSON bool
	var mebibytes int64
	o := bench.SwarmOptions{}
	limit := "20MB"
	cmd := &cobra.Command{
		Use:   "swarm",
		Short: "Measure how fast one file reaches many clients",
		Long: `Starts two trackers, a seeder and downloaders on 127.0.0.1 in a temporary
folder, all of them processes of their own, and lets all downloaders get one file
at the same moment: without a limit, beside one plain get and beside writing as
many copies without a network, both of the same run; with the seeder's line
limited, beside the ideal, which is the file's size by that limit; and so again
with a random downloader killed and restarted every second. The bytes that the
seeder sent come from its metrics, CPU times (on Linux) are those of all clients
from their start on. Every copy is compared. It needs about ten times the file's
size on the disk that TMPDIR names.

Exit codes: 0 measured (whatever the figures), 1 failed, 2 wrong usage, 130
interrupted.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rate, err := units.ParseRate(limit)
			if err != nil {
				return usageError(err)
			}
			o.Limit, o.Size = int64(rate), mebibytes<<20
			if err := o.Check(); err != nil {
				return usageError(err)
			}
			if o.Exe, err = os.Executable(); err != nil {
				return err
			}
			o.Progress = cmd.ErrOrStderr()
			r, err := bench.Swarm(cmd.Context(), o)
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
	f.IntVar(&o.Downloaders, "downloaders", 8, "how many clients get the file")
	f.Int64Var(&mebibytes, "mebibytes", 256, "size of the file")
	f.StringVar(&limit, "seeder-limit", limit, "what the seeder sends a second in the limited runs")
	return cmd
}
