package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// downloader is one client of a swarm, which may be killed and come back.
type downloader struct {
	exe, dir, name, addr string
	metrics              string // where it shows what it has counted
	trackers             [2]string
	limit                int64 // of what it sends, in bytes a second; 0 is none

	mu sync.Mutex
	*process.Process
	whole bool
	past  time.Duration // CPU time of its lives that were ended
}

// newDownloader lays a client out on free ports; it does not run yet.
func (x *swarmBench) newDownloader(ctx context.Context, dir string, i int, trackers [2]string, limit int64) (*downloader, error) {
	addrs, err := process.Reserve(ctx, "127.0.0.1", 2)
	if err != nil {
		return nil, err
	}
	return &downloader{
		exe: x.Exe, dir: dir, name: fmt.Sprint("client-", i), trackers: trackers, limit: limit,
		addr: addrs[0], metrics: addrs[1],
	}, nil
}

// copy is where its file goes.
func (d *downloader) copy() string { return filepath.Join(d.dir, d.name+".copy") }

func (d *downloader) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	args := []string{"client", d.addr, d.trackers[0], d.trackers[1], d.name + ".log", "--state", d.name + ".state", "--metrics", d.metrics}
	if d.limit > 0 {
		args = append(args, "--upload-limit", strconv.FormatInt(d.limit, 10))
	}
	p, err := process.Start(process.Spec{Name: d.name, Exe: d.exe, Dir: d.dir, Args: args})
	if err != nil {
		return err
	}
	d.Process = p
	_, err = p.Ready(ctx)
	return err
}

// restart kills the client and starts it again, unless it has the file.
func (d *downloader) restart(ctx context.Context) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole {
		return false, nil
	}
	used, _ := cpuOf(d.PID())
	d.past += used
	d.Kill()
	<-d.Done()
	return true, d.start(ctx)
}

// cpu is the CPU time of all its lives, but for what a life took between the
// last look and its end; 0 where the system does not tell.
func (d *downloader) cpu() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	used, _ := cpuOf(d.PID())
	return d.past + used
}

// get has the client get the file, and waits until it has.
func (d *downloader) get(ctx context.Context, torrent string) error {
	d.mu.Lock()
	_, err := d.Ask(ctx, fmt.Sprintf("get %q %q", torrent, d.copy()))
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.await(ctx)
}

// await waits until the client has the file, over all its lives.
func (d *downloader) await(ctx context.Context) error {
	for {
		d.mu.Lock()
		p := d.Process
		d.mu.Unlock()
		_, err := p.Ask(ctx, "wait")
		d.mu.Lock()
		killed := p != d.Process
		d.whole = err == nil
		d.mu.Unlock()
		if !killed || err == nil {
			if err != nil {
				return fmt.Errorf("wait for %s: %w", d.name, err)
			}
			return nil
		}
	}
}

func (d *downloader) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Process != nil {
		d.Kill()
	}
}
