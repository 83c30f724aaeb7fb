package replica

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// BenchmarkCatchUp has an empty tracker pull 300,000 rows of 30,000 torrents
// and as many clients from another, files and fsync included.
func BenchmarkCatchUp(b *testing.B) {
	const rows = 300_000
	dir := b.TempDir()
	from := open(b, filepath.Join(dir, "from"))
	last := make(chan error, 1)
	for i := range rows {
		id, h := torrent(i / 10)
		a := client(0)
		binary.BigEndian.PutUint16(a[16:], uint16(i%30_000)+1)
		from.Announce(registry.Announcement{
			Torrent: id, Asker: registry.Asker{Addr: a}, Whole: true, Info: &registry.Info{Name: "file", Size: 1}, Hashes: h,
		}, func(_ registry.Result, err error) {
			if i == rows-1 {
				last <- err
			}
		})
	}
	if err := <-last; err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		to := open(b, filepath.Join(dir, "to"+string(rune('a'+i%26))))
		stop := link(b, to, from)
		for {
			changed := to.Changed()
			if to.Vector().CoversAll(from.Vector()) {
				break
			}
			<-changed
		}
		b.StopTimer()
		stop()
		_ = to.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
