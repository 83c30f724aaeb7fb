package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/bench"
	"github.com/mtor-dev/mtor/roles/bench/carry"
)

func newBenchGetCmd() *cobra.Command {
	var asJSON bool
	var size, dir string
	o := bench.GetOptions{}
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Measure a whole download against the bare pipeline",
		Long: `Starts two trackers and two clients on 127.0.0.1, shares a file with one client
and gets it with the other, again and again, each time as a fresh file: from the
command until the file has its final name. In turn with that, the same file goes
over one bare TCP connection, by sendfile, is checked, written to a fresh file,
synced and renamed. CPU time is that of both clients, or both bare processes.

Exit codes: 0 measured (whatever the figures), 1 failed, 2 wrong usage, 130
interrupted.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return usageError(err)
			}
			if config.Schemes(o.Transport, false) == nil {
				return usageError(fmt.Errorf("--transport: %q is unknown: want auto, tcp, tls or quic", o.Transport))
			}
			bytes, err := benchSize(size)
			if err != nil {
				return err
			}
			r, err := benchGet(cmd, o, tempDir(dir), bytes)
			if err != nil {
				return fmt.Errorf("bench get: %w", err)
			}
			if asJSON {
				return r.JSON(cmd.OutOrStdout())
			}
			return r.Print(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "answer as one JSON object")
	f.StringVar(&o.Transport, "transport", config.TransportAuto, "what the clients dial over: auto, tcp, tls or quic")
	f.IntVar(&o.Rounds, "rounds", 5, "rounds")
	f.StringVar(&size, "size", "1GiB", "size of the file, in whole pieces of 512 KiB, up to 64GiB")
	f.StringVar(&dir, "dir", "", "folder of the files (default the system's for temporary ones)")
	return cmd
}

func benchGet(cmd *cobra.Command, o bench.GetOptions, dir string, size int64) (r *bench.GetReport, err error) {
	if o.Exe, err = os.Executable(); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil { // the clients have another working directory
		return nil, err
	}
	serving := carry.Options{Dir: dir}
	child, err := startBenchServe(cmd.Context(), &serving, size, nil)
	if err != nil {
		return nil, err
	}
	defer child.end()
	served, err := filepath.Glob(filepath.Join(child.dir, "mtor-bench-*"))
	if err != nil || len(served) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%d files are served, not one", len(served)))
	}
	if o.Dir, err = os.MkdirTemp(dir, "mtor-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	o.Server, o.Source, o.Progress = serving.Addr, served[0], cmd.ErrOrStderr()
	return bench.Get(cmd.Context(), o)
}
