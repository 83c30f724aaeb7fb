package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/semaphore"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is a stream over net.Pipe.
type pipe struct{ net.Conn }

func (p pipe) ReadFull(b []byte) (int, error)      { return io.ReadFull(p.Conn, b) }
func (p pipe) ReadFrom(r io.Reader) (int64, error) { return io.Copy(p.Conn, r) }
func (p pipe) CloseWrite() error                   { return p.Close() }
func (p pipe) Abort(transport.Code)                { _ = p.Close() }
func open(t testing.TB, path string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// link has one registry pull from another until stop is called.
func link(t testing.TB, to, from *registry.Registry) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a, b := net.Pipe()
	gave, pulled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gave)
		in := wire.NewReader(&Patience{Stream: pipe{a}, Wait: Dead})
		_ = Give(ctx, pipe{a}, from, in)
		_ = a.Close()
	}()
	go func() {
		defer close(pulled)
		p := &Puller{Registry: to, Budget: semaphore.NewWeighted(MaxHashes)}
		if err := p.Run(ctx, pipe{b}); ctx.Err() == nil {
			t.Error(err)
		}
		_ = b.Close()
	}()
	return func() {
		cancel()
		<-gave
		<-pulled
	}
}

func both(t testing.TB, a, b *registry.Registry) (stop func()) {
	x, y := link(t, a, b), link(t, b, a)
	return func() { x(); y() }
}

func torrent(n int) (torrentfmt.ID, []byte) {
	h := make([]byte, torrentfmt.HashSize)
	binary.BigEndian.PutUint32(h, uint32(n))
	return torrentfmt.HashID(h), h
}

func client(n byte) registry.Addr { return registry.Addr{10: 0xff, 11: 0xff, 12: 10, 15: n, 17: 1} }

func done(t testing.TB, f func(func(registry.Result, error))) registry.Stamp {
	t.Helper()
	c := make(chan error, 1)
	var res registry.Result
	f(func(r registry.Result, err error) { res = r; c <- err })
	if err := <-c; err != nil {
		t.Fatal(err)
	}
	return res.Stamp
}

func share(t testing.TB, r *registry.Registry, n int, c byte, echo registry.Stamp) registry.Stamp {
	id, h := torrent(n)
	return done(t, func(f func(registry.Result, error)) {
		r.Announce(registry.Announcement{
			Torrent: id, Asker: registry.Asker{Addr: client(c)}, Whole: true, Echo: echo,
			Info: &registry.Info{Name: "file", Size: 1}, Hashes: h,
		}, f)
	})
}

func unshare(t testing.TB, r *registry.Registry, n int, c byte, echo registry.Stamp) registry.Stamp {
	id, _ := torrent(n)
	return done(t, func(f func(registry.Result, error)) { r.Remove(registry.Asker{Addr: client(c)}, id, echo, f) })
}

// until waits for something that the other goroutines bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("it never came to pass that %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func step(t testing.TB, a, b *registry.Registry) {
	t.Helper()
	until(t, "both are in step", func() bool {
		v, w := a.Vector(), b.Vector()
		return v.CoversAll(w) && w.CoversAll(v)
	})
}

func TestGoneRowsAreDroppedOnceBothKnowOfThem(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, filepath.Join(dir, "a")), open(t, filepath.Join(dir, "b"))
	a.Collect(1)
	b.Collect(1)
	echo := share(t, a, 1, 1, 0)
	share(t, a, 2, 2, 0)
	unshare(t, a, 1, 1, echo)
	done(t, func(f func(registry.Result, error)) { b.Leave(registry.Asker{Addr: client(3)}, echo, f) })
	stop := both(t, a, b)
	defer stop()
	until(t, "only the listed row is left", func() bool {
		return a.Stats().Rows == 1 && b.Stats().Rows == 1 && a.Stats().Listed == 1 && b.Stats().Listed == 1
	})
}

// copyOf makes a backup of a closed file.
func copyOf(t *testing.T, path string) (restore func()) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTrackerOnABackupDoesNotBringBackWhatWasDropped(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b")
	a, b := open(t, filepath.Join(dir, "a")), open(t, path)
	a.Collect(1)
	echo := share(t, a, 1, 1, 0)
	share(t, a, 2, 2, 0)
	stop := both(t, a, b)
	step(t, a, b)
	stop()
	_ = b.Close()
	restore := copyOf(t, path)
	b = open(t, path)
	b.Collect(1)
	stop = both(t, a, b)
	unshare(t, a, 1, 1, echo)
	until(t, "the gone row is dropped", func() bool { return a.Stats().Rows == 1 && b.Stats().Rows == 1 })
	stop()
	for range 2 { // twice from one backup
		_ = b.Close()
		restore()
		b = open(t, path)
		b.Collect(1)
		if b.Stats().Listed != 2 {
			t.Fatalf("the backup lists %+v", b.Stats())
		}
		share(t, b, 3, 3, 0)
		stop = both(t, a, b)
		step(t, a, b)
		until(t, "lists are equal", func() bool { return a.Stats().Listed == 2 && b.Stats().Listed == 2 })
		done(t, func(f func(registry.Result, error)) { b.Leave(registry.Asker{Addr: client(3)}, 0, f) })
		until(t, "the third has left", func() bool { return a.Stats().Listed == 1 && b.Stats().Listed == 1 })
		stop()
	}
	if n := a.Repaired() + b.Repaired(); n != 0 {
		t.Errorf("%d entries were repaired", n)
	}
}

// What a tracker says of its list must lead the other to what it lacks, even
// when both vectors claim the same.
func TestBucketsThatDifferAreRepaired(t *testing.T) {
	synctest.Test(t, bucketsThatDiffer)
}

func bucketsThatDiffer(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, filepath.Join(dir, "a")), open(t, filepath.Join(dir, "b"))
	share(t, a, 1, 1, 0)
	merged := make(chan error, 1)
	// b claims a's entries without having them, as after damage.
	b.Merge(nil, registry.Vector{}.SpansTo(a.Vector()), func(err error) { merged <- err })
	if err := <-merged; err != nil {
		t.Fatal(err)
	}
	ours, theirs := b.Summary(), a.Summary()
	id, _ := torrent(1)
	differ := ours.Differ(&theirs)
	if len(differ) != 1 || differ[0] != id[0] {
		t.Fatalf("buckets %v differ, the torrent is in %v", differ, id[0])
	}
	stop := link(t, b, a)
	defer stop()
	until(t, "the row is there", func() bool { return b.Stats().Listed == 1 && b.Repaired() == 1 })
	ours, theirs = b.Summary(), a.Summary()
	if ours != theirs {
		t.Error("summaries still differ")
	}
}

func TestAcknowledgementsReachTheGiver(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, filepath.Join(dir, "a")), open(t, filepath.Join(dir, "b"))
	stop := link(t, b, a)
	until(t, "b is in step", func() bool {
		m := a.Members()
		return len(m) == 1 && m[0].Node == b.NodeID() && m[0].Connected && m[0].Behind == 0
	})
	for c := range byte(50) {
		share(t, a, 1, c, 0)
		at := a.Vector()
		acked := make(chan struct{})
		a.AfterAck(func() { close(acked) })
		<-acked
		if !b.Vector().CoversAll(at) {
			t.Fatal("acknowledged and not there")
		}
	}
	if m := a.Members(); m[0].Lag <= 0 {
		t.Errorf("%+v", m)
	}
	stop()
	if m := a.Members(); m[0].Connected {
		t.Errorf("%+v", m)
	}
}

func TestBadPullIsRefused(t *testing.T) {
	for name, msgs := range map[string][]*wire.Pulled{
		"a short origin":   {{Origin: []byte("x")}},
		"a short vector":   {{Have: []*wire.VectorEntry{{Origin: []byte("x")}}}},
		"too many buckets": {{}, {Buckets: make([]byte, maxBuckets+1)}},
	} {
		r := open(t, filepath.Join(t.TempDir(), "list"))
		a, b := net.Pipe()
		go func() {
			for _, m := range msgs {
				_ = wire.Write(b, m)
			}
			_, _ = io.Copy(io.Discard, b)
		}()
		err := Give(t.Context(), pipe{a}, r, wire.NewReader(&Patience{Stream: pipe{a}, Wait: Dead}))
		var coded *wire.CodeError
		if !errors.As(err, &coded) || coded.Code != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("%s: %v", name, err)
		}
		_, _ = a.Close(), b.Close()
		_ = r.Close()
	}
}

// pulling is a puller by hand.
type pulling struct {
	t  *testing.T
	st net.Conn
	in *wire.Reader
}

func (p *pulling) say(m *wire.Pulled) {
	p.t.Helper()
	if err := wire.Write(p.st, m); err != nil {
		p.t.Fatal(err)
	}
}

// round reads to the end of a round.
func (p *pulling) round() (entries []registry.Entry, full bool) {
	p.t.Helper()
	for {
		var g wire.Given
		if err := p.in.Next(&g, maxMessage); err != nil {
			p.t.Fatal(err)
		}
		got, err := decode(&g)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, e := range got {
			if e.Kind == registry.KindTorrent {
				if _, err := p.in.Discard(hashLength(&e)); err != nil {
					p.t.Fatal(err)
				}
			}
		}
		entries, full = append(entries, got...), full || g.GetFull()
		if g.GetRound() > 0 {
			return entries, full
		}
	}
}

func TestPullersOwnEntriesDoNotComeBackToIt(t *testing.T) {
	synctest.Test(t, pullersOwnEntries)
}

func pullersOwnEntries(t *testing.T) {
	a := open(t, filepath.Join(t.TempDir(), "a"))
	a.Collect(1)
	x, y := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	gave := make(chan struct{})
	go func() {
		defer close(gave)
		_ = Give(ctx, pipe{x}, a, wire.NewReader(&Patience{Stream: pipe{x}, Wait: 0}))
	}()
	defer func() {
		cancel()
		_, _ = x.Close(), y.Close()
		<-gave
	}()
	p := &pulling{t, y, wire.NewReader(y)}
	o := registry.Origin{1: 7}
	p.say(&wire.Pulled{Origin: o[:]})
	if got, full := p.round(); len(got) > 0 || full {
		t.Fatalf("%v (full: %v) from an empty list", got, full)
	}
	// What the puller wrote comes to a by the other way, and a drops it.
	id, _ := torrent(1)
	merged := make(chan error, 1)
	a.Merge([]registry.Entry{{
		Dot: registry.Dot{Origin: o, Seq: 1}, Stamp: 2, Kind: registry.KindRow, Torrent: id, Addr: client(1), Gone: true,
	}}, []registry.Span{{Origin: o, To: 1}}, func(err error) { merged <- err })
	if err := <-merged; err != nil {
		t.Fatal(err)
	}
	p.say(&wire.Pulled{Have: encodeVector(registry.Vector{o: 1})})
	drained := make(chan struct{})
	go func() { // heartbeats
		defer close(drained)
		for a.Stats().Rows > 0 {
			var g wire.Given
			if p.in.Next(&g, maxMessage) != nil || len(g.GetEntries()) > 0 || g.GetRound() > 0 {
				t.Errorf("came back: %v", &g)
				return
			}
		}
	}()
	<-drained
	share(t, a, 2, 2, 0)
	if got, full := p.round(); len(got) != 3 || full {
		t.Errorf("%v (full: %v), want a name, a home and a row", got, full)
	}
}
