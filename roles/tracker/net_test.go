package tracker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func tables(t testing.TB) map[string]transport.Table {
	q, err := quic.New(quic.Options{LocalIP: loopback})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]transport.Table{"tcp": {tcp.New(tcp.Options{LocalIP: loopback})}, "quic": {q}}
}

// runTracker runs a tracker on real sockets until the test ends.
func runTracker(t testing.TB, table transport.Table, peer string) *Tracker {
	t.Helper()
	tr, err := New(t.Context(), Options{
		Addr: "127.0.0.1:0", Peers: []string{peer}, SeederlistFile: filepath.Join(t.TempDir(), "list"),
		Listen: table, Dial: table,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return tr
}

// nobody is an address of no tracker, on the IP of all.
const nobody = "127.0.0.1:1"

// dialTracker connects a client and opens its stream of requests.
func dialTracker(t testing.TB, table transport.Table, tr *Tracker) transport.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sess, err := table.Dial(ctx, tr.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sess.Close() })
	if err := greet(ctx, sess, wire.Role_ROLE_CLIENT); err != nil {
		t.Fatal(err)
	}
	st, err := sess.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.Write(st, &wire.Open{Kind: &wire.Open_Requests{Requests: &wire.Requests{}}}); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestPairOverRealSockets(t *testing.T) {
	for name, table := range tables(t) {
		t.Run(name, func(t *testing.T) {
			a := runTracker(t, table, nobody)
			b := runTracker(t, table, a.Addr().String()) // pulls from a
			st := dialTracker(t, table, a)
			c := &caller{t: t, st: st, in: wire.NewReader(st), addr: "127.0.0.1:4000"}
			f := fileOf("f", 100)
			c.share(f)
			for {
				changed := b.reg.Changed()
				_, total := b.reg.Seeders(nil, torrentfmt.ID(f.id()), registry.Addr{}, 0)
				if total == 1 {
					break
				}
				<-changed
			}
			c.ok(remove(f), nil)
			for {
				changed := b.reg.Changed()
				if b.Stats().Listed == 0 {
					break
				}
				<-changed
			}
		})
	}
}

// load is n announces of one client, framed; torrent tells of which torrent
// each is, and whether its hash string comes with it.
func load(b *testing.B, client, n int, want uint32, torrent func(i int) (number int, hashes bool)) []byte {
	var out []byte
	for i := range n {
		k, hashes := torrent(i)
		h := make([]byte, torrentfmt.HashSize)
		binary.BigEndian.PutUint64(h, uint64(k))
		id := torrentfmt.HashID(h)
		a := &wire.Announce{TorrentId: id[:], Whole: true, Want: want}
		if hashes {
			a.Filename, a.Filesize, a.HashLength = "bench", 1, uint64(len(h))
		}
		var err error
		out, err = wire.Append(out, &wire.Request{
			Kind: &wire.Request_Announce{Announce: a}, Addr: fmt.Sprintf("127.0.0.1:%d", client+1),
		})
		if err != nil {
			b.Fatal(err)
		}
		if hashes {
			out = append(out, h...)
		}
	}
	return out
}

// drive sends each client's load on a session of its own and reads the
// replies.
func drive(b *testing.B, streams []transport.Stream, loads [][]byte, n int) {
	var all sync.WaitGroup
	for i, st := range streams {
		all.Go(func() {
			if _, err := st.Write(loads[i]); err != nil {
				b.Error(err)
			}
		})
		all.Go(func() {
			in := wire.NewReader(st)
			var r wire.Reply
			for range n {
				if err := in.Next(&r, wire.MaxMessage); err != nil || r.GetError() != wire.Error_ERROR_NONE {
					b.Error(err, &r)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkSessions drives one tracker of a live pair over TCP with 64 client
// sessions, the load generator included: refreshes, refreshes with 50 peers in
// the reply, and new durable rows.
func BenchmarkSessions(b *testing.B) {
	const clients = 64
	for _, c := range []struct {
		name  string
		want  uint32
		fresh bool
	}{{"refresh", 0, false}, {"refresh50peers", 50, false}, {"new", 0, true}} {
		b.Run(c.name, func(b *testing.B) {
			table := tables(b)["tcp"]
			a := runTracker(b, table, nobody)
			other := runTracker(b, table, a.Addr().String())
			streams := make([]transport.Stream, clients)
			loads, first := make([][]byte, clients), make([][]byte, clients)
			n := max(1, b.N/clients)
			const torrents = 100
			for i := range streams {
				streams[i] = dialTracker(b, table, a)
				first[i] = load(b, i, torrents, 0, func(j int) (int, bool) { return j, true })
				loads[i] = load(b, i, n, c.want, func(j int) (int, bool) {
					if c.fresh {
						return torrents + i/10*n + j, true // ten rows a torrent
					}
					return j % torrents, false
				})
			}
			drive(b, streams, first, torrents)
			b.ResetTimer()
			drive(b, streams, loads, n)
			b.ReportMetric(float64(n*clients)/b.Elapsed().Seconds(), "announces/s")
			for {
				changed := other.reg.Changed()
				if other.reg.Vector().CoversAll(a.reg.Vector()) {
					break
				}
				<-changed
			}
			b.ReportMetric(float64(n*clients)/b.Elapsed().Seconds(), "in-step/s")
		})
	}
}

// BenchmarkCatchUp has an empty tracker pull rows over TCP, ten to a torrent.
func BenchmarkCatchUp(b *testing.B) {
	table := tables(b)["tcp"]
	a := runTracker(b, table, nobody)
	done := make(chan error, 1)
	for i := range b.N {
		h := make([]byte, torrentfmt.HashSize)
		binary.BigEndian.PutUint64(h, uint64(i/10))
		client := netip.AddrPortFrom(loopback, uint16(i/10%6*10+i%10+1))
		last := i == b.N-1
		a.reg.Announce(registry.Announcement{
			Torrent: torrentfmt.HashID(h), Asker: registry.Asker{Addr: registry.AddrOf(client)}, Whole: true,
			Info: &registry.Info{Name: "bench", Size: 1}, Hashes: h,
		}, func(_ registry.Result, err error) {
			if last {
				done <- err
			}
		})
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	other := runTracker(b, table, a.Addr().String())
	for {
		changed := other.reg.Changed()
		if other.Stats().Listed == a.Stats().Listed {
			break
		}
		<-changed
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
