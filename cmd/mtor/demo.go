package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mtor-dev/mtor/roles/demo"
)

func newDemoCmd() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo [FILE]",
		Short: "Show a swarm at work on this machine",
		Long: `Starts two trackers, a client that shares FILE (or 256 MiB of generated data)
and three clients that fetch it, two over TCP and one over QUIC, all on
127.0.0.1 and in a temporary folder. One tracker is killed while they are at
it, one downloader starts through the other alone, and the dead tracker comes
back. Every copy is compared with the original.

Exit codes: 0 every copy is byte-identical and both trackers list the same,
1 something failed, 2 wrong usage, 130 interrupted.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			o := demo.Options{
				Exe:      exe,
				Keep:     keep,
				Out:      cmd.OutOrStdout(),
				Terminal: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("TERM") != "dumb",
			}
			if len(args) > 0 {
				o.File = args[0]
			}
			// Whatever ends the reader of its output must not leave its folder.
			surviveClosedOutput()
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
			defer stop()
			return demo.Run(ctx, o)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the temporary folder and print the commands that ran")
	return cmd
}
