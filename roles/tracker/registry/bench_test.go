package registry

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// spread makes announcement i of rows that are new: 10 rows to a torrent, 10
// to a client.
func spread(i int) Announcement {
	a := announcement(i/10, i%10*100_000+i/100)
	return a
}

// announceAll announces with as many outstanding as the registry takes, and
// waits for the last.
func announceAll(b *testing.B, r *Registry, n int, next func(int) Announcement) {
	done := make(chan error, 1)
	for i := range n {
		last := i == n-1
		r.Announce(next(i), func(_ Result, err error) {
			if last {
				done <- err
			}
		})
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkNewDurableRows(b *testing.B) {
	r := open(b, filepath.Join(b.TempDir(), "list"))
	list := make([]Announcement, b.N)
	for i := range list {
		list[i] = spread(i)
	}
	b.ResetTimer()
	announceAll(b, r, b.N, func(i int) Announcement { return list[i] })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRefresh(b *testing.B) {
	r := open(b, filepath.Join(b.TempDir(), "list"))
	const rows = 100_000
	list := make([]Announcement, rows)
	for i := range list {
		list[i] = spread(i)
	}
	announceAll(b, r, rows, func(i int) Announcement { return list[i] })
	b.ResetTimer()
	for range b.N {
		if res, ok := r.Refresh(&list[rand.IntN(rows)]); !ok {
			b.Fatal(res)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}

func BenchmarkSample50Of1000(b *testing.B) {
	r := open(b, filepath.Join(b.TempDir(), "list"))
	announceAll(b, r, 1000, func(i int) Announcement { return announcement(1, i) })
	id := torrentfmt.HashID(hashesOf(1))
	var buf []Seeder
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		buf, _ = r.Seeders(buf[:0], id, addr(7), 50)
	}
}

// BenchmarkMillionRows fills a registry with 1,000,000 rows of 100,000
// torrents and 100,000 clients, then measures what they take in memory and how
// long another takes to have them, and a restart.
func BenchmarkMillionRows(b *testing.B) {
	const rows = 1_000_000
	if b.N > 1 {
		b.Skip("one round is the measure: use -benchtime 1x")
	}
	dir := b.TempDir()
	r := open(b, filepath.Join(dir, "list"))
	announceAll(b, r, rows, spread)
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	before := heap()
	start := time.Now()
	r = open(b, filepath.Join(dir, "list"))
	b.ReportMetric(time.Since(start).Seconds(), "start-s")
	b.ReportMetric(float64(heap()-before)/rows, "heap-bytes/row")
	if got := r.Stats(); got.Listed != rows {
		b.Fatal(fmt.Sprint(got))
	}

	to := open(b, filepath.Join(dir, "other"))
	start = time.Now()
	scan := r.Scan(nil)
	n := 0
	done := make(chan error, 1)
	for {
		entries, err := scan.Next(1000)
		if err != nil {
			b.Fatal(err)
		}
		n += len(entries)
		if len(entries) == 0 {
			to.Merge(nil, Vector{}.SpansTo(scan.Vector()), func(err error) { done <- err })
			break
		}
		to.Merge(entries, nil, func(error) {})
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	scan.Close()
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "merged-entries/s")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
