// Package demo is the role of the binary that shows what mtor does: a swarm of
// real processes on one machine, in which a tracker is killed and comes back.
// It starts the same binary as every user would, types into its menus, and
// asks the trackers what they know over the network.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// Options say what to show and where.
type Options struct {
	Exe      string    // path of the mtor binary
	File     string    // what to share; empty means generated data
	Keep     bool      // leave the folder and print the commands
	Out      io.Writer // for people
	Terminal bool      // Out is a terminal: progress overwrites its line
}

const (
	// readyTimeout bounds the start of one process.
	readyTimeout = 20 * time.Second
	// agreeTimeout bounds the wait for both trackers to list the same.
	agreeTimeout = 30 * time.Second
	// quitTimeout bounds a graceful end; then the process is killed.
	quitTimeout = 10 * time.Second
	// baseTimeout and slowest bound the whole: some time for the processes,
	// and the data at this many bytes a second, which any disk exceeds.
	baseTimeout = 3 * time.Minute
	slowest     = 2 << 20
)

// Run shows the whole story and returns nil only when every copy is
// byte-identical. When it returns, no process of its swarm is left, and without
// Keep no file.
func Run(ctx context.Context, o Options) (err error) {
	folder, err := os.MkdirTemp("", "mtor-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d := &demo{Options: o, folder: folder, tell: &narrator{w: o.Out, terminal: o.Terminal}}
	defer func() {
		d.killAll()
		if !o.Keep {
			err = errors.Join(err, os.RemoveAll(folder))
			return
		}
		d.tell.say("The folder stays: %s", folder)
	}()
	if err := d.data(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	limit := baseTimeout + time.Duration(d.size/slowest)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %s", limit))
	defer cancel()
	if err := d.story(ctx); err != nil {
		if ctx.Err() == nil && !o.Keep {
			return fmt.Errorf("demo: %w (--keep leaves the log files)", err)
		}
		return fmt.Errorf("demo: %w", err)
	}
	if o.Keep {
		return d.keep()
	}
	return nil
}

// demo is one run.
type demo struct {
	Options
	folder   string
	source   string // absolute path of what is shared
	size     int64  // bytes of source
	tell     *narrator
	recipe   []string // what was run, for people to repeat
	children []*process.Process
	trackers [2]*node
	sharer   *node
	loaders  []*node
}

// node is one process of the swarm.
type node struct {
	name      string
	transport string   // a client's --transport
	args      []string // to start it again
	addr      string   // where it is reached
	log       string   // path of its log file
	copy      string   // path of a downloader's copy
	process   *process.Process
}

const mtorrent = "demo.mtorrent"

// data generates the data to share, or looks at the user's.
func (d *demo) data(ctx context.Context) error {
	if d.File == "" {
		d.source, d.size = filepath.Join(d.folder, "data.bin"), generatedSize
		d.tell.step("Make %s of data", humanSize(d.size))
		return generate(ctx, d.source, d.size)
	}
	size, err := regularSize(d.File)
	if err != nil {
		return err
	}
	d.size = size
	d.source, err = filepath.Abs(d.File)
	return err
}

// story is the demo from the first process to the last byte compared.
func (d *demo) story(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		d.startTrackers, d.share, d.fetch, d.killTracker, d.fetchLate, d.reviveTracker, d.quit, d.report,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) startTrackers(ctx context.Context) error {
	d.tell.step("Two trackers, each told of the other")
	addrs, err := process.Reserve(ctx, loopback, len(d.trackers))
	if err != nil {
		return err
	}
	for i := range d.trackers {
		name := fmt.Sprintf("tracker-%d", i+1)
		n := &node{name: fmt.Sprintf("tracker %d", i+1), log: filepath.Join(d.folder, name+".log")}
		n.args = []string{"tracker", addrs[i], addrs[1-i], name + ".db", name + ".log"}
		d.trackers[i] = n
		if err := d.start(ctx, n); err != nil {
			return err
		}
		d.tell.say("%s on %s", n.name, n.addr)
	}
	return nil
}

func (d *demo) share(ctx context.Context) error {
	d.tell.step("A client shares %s (%s)", filepath.Base(d.source), humanSize(d.size))
	d.sharer = d.client("sharer", "auto")
	if err := d.start(ctx, d.sharer); err != nil {
		return err
	}
	if err := d.command(ctx, d.sharer, "share", d.source, mtorrent); err != nil {
		return err
	}
	listed, err := d.agree(ctx, d.sharer)
	if err != nil {
		return err
	}
	d.tell.say("both trackers list %s", listed)
	return nil
}

func (d *demo) fetch(ctx context.Context) error {
	d.tell.step("Two clients fetch it at once, one over TCP and one over QUIC")
	for _, transport := range []string{"tcp", "quic"} {
		if err := d.download(ctx, transport); err != nil {
			return err
		}
	}
	return d.follow(ctx, func(s []standing) bool { return s[0].percent > 0 && s[1].percent > 0 })
}

func (d *demo) killTracker(context.Context) error {
	d.trackers[0].process.Kill()
	d.note("# here tracker 1 was killed: kill -9 its process")
	d.tell.step("Tracker 1 is gone (SIGKILL); the transfers go on")
	return nil
}

func (d *demo) fetchLate(ctx context.Context) error {
	d.tell.step("A third client starts, with tracker 2 alone to ask")
	if err := d.download(ctx, "tcp"); err != nil {
		return err
	}
	return d.follow(ctx, func(all []standing) bool {
		for _, s := range all {
			if !s.whole {
				return false
			}
		}
		return true
	})
}

func (d *demo) reviveTracker(ctx context.Context) error {
	d.tell.step("Tracker 1 comes back, on the same port and file")
	if err := d.start(ctx, d.trackers[0]); err != nil {
		return err
	}
	listed, err := d.agree(ctx, append([]*node{d.sharer}, d.loaders...)...)
	if err != nil {
		return err
	}
	d.tell.say("both trackers list the same: %s", listed)
	return nil
}

// download starts one more downloader and gives it the .mtorrent.
func (d *demo) download(ctx context.Context, transport string) error {
	number := len(d.loaders) + 1
	n := d.client(fmt.Sprintf("downloader-%d", number), transport)
	d.loaders = append(d.loaders, n)
	if err := d.start(ctx, n); err != nil {
		return err
	}
	name := fmt.Sprintf("copy-%d", number)
	n.copy = filepath.Join(d.folder, name)
	return d.command(ctx, n, "get", mtorrent, name)
}

func (d *demo) report(ctx context.Context) error {
	d.tell.step("Compare every copy with the original")
	rows := make([]row, len(d.loaders))
	for i, n := range d.loaders {
		if err := sameBytes(ctx, d.source, n.copy); err != nil {
			return err
		}
		done, err := completed(n.log)
		if err != nil && d.size > 0 { // an empty file has nothing to fetch
			return err
		}
		rows[i] = row{client: n.name, transport: n.transport, done: done}
	}
	names := map[string]string{d.sharer.addr: d.sharer.name}
	for _, n := range d.loaders {
		names[n.addr] = n.name
	}
	d.tell.table(rows, names)
	d.tell.say("TRANSPORT is what a client dials; pieces also come over sessions that others dialled.")
	d.tell.say("All %d copies are byte-identical.", len(rows))
	return nil
}
