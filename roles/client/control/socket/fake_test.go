package socket

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/client/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a control.API that notes what it was asked and answers with values
// that have every field set, or with err.
type recorder struct {
	err   error
	waits bool // for the end of the context, or of the client

	mu    sync.Mutex
	calls []string
	ended chan struct{} // closed by Quit
}

func newRecorder() *recorder { return &recorder{ended: make(chan struct{})} }

func (f *recorder) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *recorder) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

var fullDownload = control.Download{
	ID: "0123456789abcdef0123456789abcdef01234567", Name: "data.bin", Mtorrent: "/srv/x.mtorrent", Path: "/srv/data.bin",
	State: control.Downloading, Size: 1 << 40, Done: 1 << 30, DownRate: 1.5e6, UpRate: 2.5, Sent: 77, Peers: 3, Note: "n",
	Sources: map[string]int{"tcp 10.0.0.1:1": 5}, SeedUntil: &control.SeedGoal{Ratio: 1.5, Seconds: 60},
}

var fullPeer = control.Peer{
	Addr: "10.0.0.1:1", Transport: "tcp", Node: "ab", Dialled: true, Pieces: 1, Of: 2, Received: 3, Asked: 4, DownRate: 5, UpRate: 6,
}

var (
	fullLimits = control.Limits{Name: "data.bin", Up: 1, Down: 2}
	fullStatus = control.Status{
		Addr: "a", Listed: "b", StateDir: "/c", PID: 4, Version: "d", Started: time.Unix(1_700_000_000, 0).UTC(), Sessions: 5,
		Torrents: map[control.State]int{control.Paused: 1}, DownRate: 1, UpRate: 2, Limits: fullLimits,
		Trackers: []control.TrackerSet{{Addrs: []string{"e:1"}, Reachable: true, Answered: true}},
	}
	fullRemoved = control.Removed{Part: "/srv/data.bin.part", Done: 1, Pieces: 2}
)

func (f *recorder) Share(_ context.Context, path, mtorrent string, progress func(done, total int64)) (control.Download, error) {
	if progress != nil {
		progress(1, 2)
	}
	return fullDownload, f.note("share %s %s", path, mtorrent)
}

func (f *recorder) Get(_ context.Context, mtorrent, dest string) (control.Download, error) {
	return fullDownload, f.note("get %s %s", mtorrent, dest)
}

func (f *recorder) Downloads(context.Context) ([]control.Download, error) {
	return []control.Download{fullDownload}, f.err
}

func (f *recorder) Peers(_ context.Context, name string) ([]control.Peer, error) {
	return []control.Peer{fullPeer}, f.note("peers %s", name)
}

func (f *recorder) Remove(_ context.Context, name string) (control.Removed, error) {
	return fullRemoved, f.note("remove %s", name)
}

func (f *recorder) Pause(_ context.Context, name string) (control.Download, error) {
	return fullDownload, f.note("pause %s", name)
}

func (f *recorder) Resume(_ context.Context, name string) (control.Download, error) {
	return fullDownload, f.note("resume %s", name)
}

func (f *recorder) Relocate(_ context.Context, name, path string, _ func(done, total int64)) (control.Download, error) {
	return fullDownload, f.note("relocate %s %s", name, path)
}

func (f *recorder) SeedUntil(_ context.Context, name string, goal control.SeedGoal) (control.Download, error) {
	return fullDownload, f.note("seed until %s %v", name, goal)
}

func (f *recorder) SetLimits(_ context.Context, name string, change control.LimitChange) (control.Limits, error) {
	say := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return fullLimits, f.note("limit %q %s %s", name, say(change.Up), say(change.Down))
}

func (f *recorder) Status(context.Context) (control.Status, error) { return fullStatus, f.err }

func (f *recorder) Wait(ctx context.Context, timeout time.Duration) ([]control.Download, error) {
	err := f.note("wait %s", timeout)
	if f.waits {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.ended:
			return nil, fmt.Errorf("wait: the client quits")
		}
	}
	return []control.Download{fullDownload}, err
}

func (f *recorder) Quit(context.Context) error {
	close(f.ended)
	return f.note("quit")
}

var _ control.API = (*recorder)(nil)

// serve answers for api on a socket of its own; end ends that and waits.
func serve(t *testing.T, api control.API) (path string, end func()) {
	t.Helper()
	path = filepath.Join(shortDir(t), "s")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return path, serveOn(t, l, api)
}

func serveOn(t *testing.T, l net.Listener, api control.API) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- Serve(ctx, l, api) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c := New(path)
	t.Cleanup(c.Close)
	return c
}
