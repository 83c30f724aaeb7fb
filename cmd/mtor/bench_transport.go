package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/bench"
	"github.com/mtor-dev/mtor/roles/bench/carry"
	"github.com/mtor-dev/mtor/roles/demo/process"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// benchPort is the port of mtor bench serve and, with the next one, of what it
// measures.
const benchPort = "7090"

func newBenchServeCmd() *cobra.Command {
	var dir, size, profile string
	var congestion []string
	cmd := &cobra.Command{
		Use:   "serve [ip:port]",
		Short: "Serve a file to mtor bench transport on another machine",
		Long: `Makes a file of random bytes, serves it to mtor bench transport --connect until a
signal comes, and removes it. It listens on the port, for what is measured
without mtor, and on the port behind it for mtor's transports, TCP and UDP each;
by default on 0.0.0.0:` + benchPort + `. Each further congestion control has the next port.
Whoever reaches it may fetch the file.

Exit codes: 0 ended by SIGTERM, 1 failed, 2 wrong usage, 130 interrupted.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr := "0.0.0.0:" + benchPort
			if len(args) > 0 {
				addr = args[0]
			}
			if ap, err := netip.ParseAddrPort(addr); err != nil || int(ap.Port())+carry.MaxKinds > 65535 {
				return usageError(fmt.Errorf("%q is not ip:port, with a port below %d", addr, 65536-carry.MaxKinds))
			}
			bytes, err := benchSize(size)
			if err != nil {
				return err
			}
			kinds, err := benchKinds(addr, congestion, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return profiled(profile, func() error {
				ctx := cmd.Context()
				movingPieces()
				s, err := carry.NewServer(ctx, carry.ServeOptions{Addr: addr, Dir: tempDir(dir), Size: bytes, Kinds: kinds})
				if err != nil {
					return fmt.Errorf("bench serve: %w", err)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s%s\n", bench.ServeReady, s.Addr())
				if err := s.Run(ctx); err != nil {
					return fmt.Errorf("bench serve: %w", err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder of the file (default the system's for temporary files)")
	cmd.Flags().StringSliceVar(&congestion, "tcp-congestion", nil, "congestion controls of TCP to serve with, such as cubic,bbr (default the system's)")
	cmd.Flags().StringVar(&size, "size", "1GiB", "size of the file, in whole pieces of 512 KiB, up to 64GiB")
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "write a CPU profile of the serving side here")
	return cmd
}

func newBenchTransportCmd() *cobra.Command {
	var asJSON bool
	var size, profile, plot, connect string
	var schemes, congestion []string
	var relay int
	o := carry.Options{}
	cmd := &cobra.Command{
		Use:   "transport",
		Short: "Measure the transports side by side",
		Long: `Fetches a file of random bytes from another process over one connection, again
and again: over each transport, with so many pieces in flight, and over what lies
bare below it, a TCP connection with sendfile, the standard library's TLS, and a
quic-go connection with long streams. Every piece is checked (SHA-1) and written
to a file. The rounds of all go in turn, so that each is held against the bare one
of the same round: a machine that others use makes all of them slower.

CPU time is that of both processes; the first byte is counted from the beginning
of dialling; memory is what the fetching process grew by at most. Files go to
--dir; a memory-backed one (--dir /dev/shm) leaves the disk out.

Without --connect, both processes run on this machine. With it, the other one is
"mtor bench serve" on another machine, which has the file and chooses the
congestion controls. "mtor bench path" emulates a long line between the two.

Exit codes: 0 measured (whatever the figures), 1 failed, 2 wrong usage, 130
interrupted.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return usageError(err)
			}
			bytes, err := benchSize(size)
			if err != nil {
				return err
			}
			for _, name := range []string{"size", "tcp-congestion"} {
				if connect != "" && cmd.Flags().Changed(name) {
					return usageError(fmt.Errorf("--%s: with --connect it is for mtor bench serve --%[1]s to say", name))
				}
			}
			if relay != 0 {
				o.Relay = bench.ProcessCPU(relay)
			}
			o.Dir, o.Addr, o.Progress = tempDir(o.Dir), connect, cmd.ErrOrStderr()
			if o.Table, err = benchTable(schemes, cmd.ErrOrStderr()); err != nil {
				return usageError(err)
			}
			if o.Addr != "" {
				if _, _, err := net.SplitHostPort(o.Addr); err != nil {
					o.Addr = net.JoinHostPort(o.Addr, benchPort)
				}
			}
			movingPieces()
			var r *carry.Report
			err = profiled(profile, func() error {
				if o.Addr == "" {
					child, err := startBenchServe(cmd.Context(), &o, bytes, congestion)
					if err != nil {
						return err
					}
					defer child.end()
				}
				r, err = carry.Measure(cmd.Context(), o)
				return err
			})
			if err != nil {
				return fmt.Errorf("bench transport: %w", err)
			}
			return showBench(cmd.OutOrStdout(), r, asJSON, plot)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "answer as one JSON object")
	f.StringVar(&plot, "plot", "", "draw the figures into this file (SVG)")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile of the fetching side here")
	f.StringVar(&connect, "connect", "", "host[:port] of mtor bench serve on another machine (port "+benchPort+")")
	f.StringSliceVar(&congestion, "tcp-congestion", nil, "congestion controls of TCP to measure with, such as cubic,bbr (default the system's)")
	f.StringSliceVar(&schemes, "transports", nil, "what to measure: tcp,tls,quic (default all)")
	f.IntSliceVar(&o.Streams, "streams", []int{1, 4, 16, 64}, "pieces in flight with each peer, 1 to 64")
	f.IntSliceVar(&o.Peers, "peers", []int{1}, "sessions to share the file between")
	f.DurationVar(&o.For, "for", 0, "end each fetch after this time (default when the file is whole)")
	f.IntVar(&relay, "relay", 0, "process whose CPU time is told as that of the path's relay")
	_ = f.MarkHidden("relay") // mtor bench path says it to its own child; the flag is there
	f.IntVar(&o.Rounds, "rounds", 5, "rounds")
	f.StringVar(&size, "size", "1GiB", "size of the file, in whole pieces of 512 KiB, up to 64GiB")
	f.StringVar(&o.Dir, "dir", "", "folder of the files (default the system's for temporary ones)")
	return cmd
}

// benchSize reads a size.
func benchSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > carry.MaxSize {
		return 0, usageError(fmt.Errorf("--size: %q is not a size such as 512MiB, up to 64GiB", text))
	}
	if err := carry.CheckSize(int64(n)); err != nil {
		return 0, usageError(fmt.Errorf("--size: %w", err))
	}
	return int64(n), nil
}

func tempDir(dir string) string {
	if dir == "" {
		return os.TempDir()
	}
	return dir
}

// benchTable is the table to dial; schemes empty means all.
func benchTable(schemes []string, stderr io.Writer) (transport.Table, error) {
	_, dial, err := benchTables("0.0.0.0:0", "", stderr)
	if err != nil || len(schemes) == 0 {
		return dial, err
	}
	return dial.Only(schemes...)
}

// benchKinds are what to listen on: a table for each congestion control, of which
// those that this machine lacks are told and left out.
func benchKinds(addr string, congestion []string, stderr io.Writer) (kinds []carry.Kind, err error) {
	if len(congestion) > carry.MaxKinds {
		return nil, usageError(fmt.Errorf("--tcp-congestion: %d of them, and at most %d can be served", len(congestion), carry.MaxKinds))
	}
	for i, name := range congestion {
		if slices.Contains(congestion[:i], name) {
			return nil, usageError(fmt.Errorf("--tcp-congestion: %s is named twice", name))
		}
		if err := tcp.CheckCongestion(name); err != nil {
			fmt.Fprintf(stderr, "left out: %v\n", err)
			continue
		}
		listen, _, err := benchTables(addr, name, stderr)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, carry.Kind{Congestion: name, Table: listen})
	}
	if len(kinds) == 0 {
		listen, _, err := benchTables(addr, "", stderr)
		return []carry.Kind{{Table: listen}}, err
	}
	return kinds, nil
}

// benchTables are those of a node whose key nobody keeps.
func benchTables(addr, congestion string, stderr io.Writer) (listen, dial transport.Table, err error) {
	t, err := carriers{addr, config.TransportAuto, congestion, identity.Ephemeral(), slog.New(slog.NewTextHandler(stderr, nil)), nil}.tables()
	return t.listen, t.dial, err
}

// benchChild is the serving process on this machine, in a folder of its own.
type benchChild struct {
	*process.Process
	dir string
}

// startBenchServe starts it and points o at it.
func startBenchServe(ctx context.Context, o *carry.Options, size int64, congestion []string) (*benchChild, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	parent, err := filepath.Abs(o.Dir) // the child has another working directory
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "mtor-bench-")
	if err != nil {
		return nil, err
	}
	c := &benchChild{dir: dir}
	c.Process, err = process.Start(process.Spec{
		Name: "mtor bench serve", Exe: exe, Dir: dir,
		Args: []string{"bench", "serve", "127.0.0.1:0", "--dir", dir, "--size", fmt.Sprint(size), "--tcp-congestion", strings.Join(congestion, ",")},
	})
	if err == nil {
		o.Addr, err = c.ReadyAs(ctx, bench.ServeReady)
	}
	if err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

func (c *benchChild) end() {
	if c.Process != nil {
		c.Kill()
	}
	_ = os.RemoveAll(c.dir) // temporary, and its path is in nobody's hands
}

// benchReport is what was measured.
type benchReport interface {
	Print(io.Writer) error
	JSON(io.Writer) error
	Plot(io.Writer) error
}

// showBench writes a report, and a picture of it to a file if one is named.
func showBench(w io.Writer, r benchReport, asJSON bool, plot string) error {
	if plot != "" {
		f, err := os.Create(plot)
		if err != nil {
			return err
		}
		if err := errors.Join(r.Plot(f), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", plot, err)
		}
	}
	if asJSON {
		return r.JSON(w)
	}
	return r.Print(w)
}
