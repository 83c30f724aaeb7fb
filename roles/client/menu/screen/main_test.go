package screen

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/client/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a client whose library the test writes. What it is not asked here
// panics.
type fake struct {
	control.API
	mu    sync.Mutex
	list  []control.Download
	looks int
	// step, if not nil, changes the list at each look.
	step func(look int, list []control.Download)
	quit int
	wait chan struct{} // what Wait waits for
	// share is what Share does; nil for nothing.
	share func(progress func(done, total int64))
}

func (f *fake) Downloads(context.Context) ([]control.Download, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if f.step != nil {
		f.step(f.looks, f.list)
	}
	return slices.Clone(f.list), nil
}

func (f *fake) looked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}

// await returns when it was looked so often at the list.
func (f *fake) await(looks int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for f.looked() < looks {
		<-tick.C
	}
}

func (f *fake) set(list ...control.Download) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = list
}

func (f *fake) Share(_ context.Context, path, mtorrent string, progress func(done, total int64)) (control.Download, error) {
	if f.share != nil {
		f.share(progress)
	}
	return control.Download{Name: path, Mtorrent: mtorrent, State: control.Seeding}, nil
}

func (f *fake) Wait(ctx context.Context, _ time.Duration) ([]control.Download, error) {
	select {
	case <-f.wait:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func loading(name string, done int64) control.Download {
	return control.Download{
		ID: name, Name: name, Mtorrent: "/lib/" + name + ".mtorrent", Path: "/data/" + name, State: control.Downloading,
		Size: 1000_000_000, Done: done, DownRate: 12_300_000, Peers: 3,
	}
}

func (f *fake) Quit(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.quit++
	return nil
}
