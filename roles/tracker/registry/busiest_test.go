package registry

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestTheBusiestTorrentsAreThoseForWhichMostAreListed(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "list.db"))
	share := func(torrent, client int, whole bool) {
		h := hashesOf(torrent)
		call(t, func(done func(Result, error)) {
			r.Announce(Announcement{
				Torrent: torrentfmt.HashID(h), Asker: Asker{Addr: addr(client)}, Whole: whole,
				Info: &Info{Name: fmt.Sprint("file ", torrent), Size: int64(torrent)}, Hashes: h,
			}, done)
		})
	}
	const torrents = 12
	for torrent := 1; torrent <= torrents; torrent++ { // 3 has three, and so on up to 6
		for client := range torrent%6 + 1 {
			share(torrent, client, client == 0)
		}
	}
	call(t, func(done func(Result, error)) {
		r.Remove(Asker{Addr: addr(0)}, torrentfmt.HashID(hashesOf(11)), 0, done)
	})
	var got []string
	for _, s := range r.Busiest(4) {
		got = append(got, fmt.Sprintf("%s: %d, %d whole", s.Info.Name, s.Listed, s.Whole))
	}
	want := "[file 5: 6, 1 whole file 4: 5, 1 whole file 10: 5, 1 whole file 11: 5, 0 whole]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v\nwant %s", got, want)
	}
	if all := r.Busiest(100); len(all) != torrents || all[torrents-1].Listed != 1 {
		t.Errorf("all: %v", all)
	}
	if none := r.Busiest(0); len(none) != 0 {
		t.Errorf("none: %v", none)
	}
}
