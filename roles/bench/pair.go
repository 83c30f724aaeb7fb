package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
	"github.com/mtor-dev/mtor/roles/tracker/admin"
)

const (
	readyTimeout = time.Minute
	endTimeout   = time.Minute
)

// node is one tracker of the pair, a process of its own.
type node struct {
	*process.Process
	exe, dir    string
	addr, other string
	admin       string
	file        string
}

// newPair lays out two trackers on free ports; none runs yet.
func newPair(ctx context.Context, exe, dir string) (*node, *node, error) {
	addrs, err := process.Reserve(ctx, "127.0.0.1", 4)
	if err != nil {
		return nil, nil, err
	}
	a := &node{exe: exe, dir: dir, addr: addrs[0], other: addrs[1], admin: addrs[2], file: filepath.Join(dir, "a.db")}
	b := &node{exe: exe, dir: dir, addr: addrs[1], other: addrs[0], admin: addrs[3], file: filepath.Join(dir, "b.db")}
	return a, b, nil
}

// start starts the tracker and returns how long it took to be ready.
func (n *node) start(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	began := time.Now()
	p, err := process.Start(process.Spec{
		Name: "tracker " + n.addr, Exe: n.exe, Dir: n.dir,
		Args: []string{"tracker", n.addr, n.other, n.file, n.file + ".log", "--transport", "tcp", "--lease", "1h", "--admin", n.admin},
	})
	if err != nil {
		return 0, err
	}
	n.Process = p
	_, err = p.Ready(ctx)
	return time.Since(began), err
}

// end ends the tracker in order.
func (n *node) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := n.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-n.Done():
		return nil // the code of SIGINT is not 0
	case <-ctx.Done():
		return fmt.Errorf("end tracker %s: %w", n.addr, context.Cause(ctx))
	}
}

func (n *node) kill() {
	if n != nil && n.Process != nil {
		n.Kill()
	}
}

// askEvery is how often a tracker is asked whether it has what it should.
const askEvery = 20 * time.Millisecond

// lists waits until the tracker at an admin address lists so many seeders.
func lists(ctx context.Context, addr string, seeders int) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		s, err := admin.Ask(ctx, addr)
		if err != nil {
			return err
		}
		if s.Seeders >= seeders {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the tracker lists %d of %d seeders: %w", s.Seeders, seeders, context.Cause(ctx))
		}
	}
}
