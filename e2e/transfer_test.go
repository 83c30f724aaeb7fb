package e2e

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestFilesOfEverySizeArrive shares the format's border sizes and the Go
// compiler at once, and gets all of them at once, over each transport and over
// both. In the mixed swarm the first downloader may serve the second.
func TestFilesOfEverySizeArrive(t *testing.T) {
	compiler := toolchainFile(t)
	for _, c := range []struct {
		name                string
		sharer, downloaders []string // flags; one downloader for each
	}{
		{"tcp", []string{"--transport", "tcp"}, []string{"tcp"}},
		{"quic", []string{"--transport", "quic"}, []string{"quic"}},
		{"mixed", nil, []string{"tcp", "quic", "auto"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			heavy(t)
			s := newSwarm(t)
			originals := []string{compiler}
			for i, size := range sizes {
				name := fmt.Sprintf("bytes-%d", size)
				s.write(name, size, byte(i))
				originals = append(originals, name)
			}
			sharer := s.client(10, "sharer", c.sharer...)
			for i, path := range originals {
				sharer.do(fmt.Sprintf("share %s %d.mtorrent", path, i))
			}
			var downloaders []*client
			for i, transport := range c.downloaders {
				d := s.client(20+i, "downloader-"+transport, "--transport", transport)
				downloaders = append(downloaders, d)
				for j := range originals {
					d.do(fmt.Sprintf("get %d.mtorrent %d-from-%s", j, j, transport))
				}
			}
			for i, d := range downloaders {
				d.do("wait")
				var want []string
				for j, path := range originals {
					s.same(path, fmt.Sprintf("%d-from-%s", j, c.downloaders[i]))
					want = append(want, "[S] "+filepath.Base(path))
				}
				d.shows(want...)
			}
			for i := range originals {
				s.allList(s.id(fmt.Sprintf("%d.mtorrent", i)), whole(append(downloaders, sharer)...)...)
			}
		})
	}
}

func TestMtorrentHoldsTheDigestOfEveryPiece(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("two and a bit.bin", 2*pieceSize+1, 1)
	sharer := s.client(10, "sharer")
	sharer.do(`share "two and a bit.bin" x.mtorrent`)
	f := s.open("two and a bit.bin")
	defer f.Close()
	var hashes []byte
	for range 3 {
		piece, err := io.ReadAll(io.LimitReader(f, pieceSize))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha1.Sum(piece)
		hashes = append(hashes, digest[:]...)
	}
	want := mtorrentFile{1, s.trackers[0].addr, s.trackers[1].addr, "two and a bit.bin", 2*pieceSize + 1, hex.EncodeToString(hashes), nil}
	if got := s.readMtorrent("x.mtorrent"); !reflect.DeepEqual(got, want) {
		t.Fatalf("x.mtorrent holds %+v: want %+v", got, want)
	}
}

func TestFilesTravelOverIPv6(t *testing.T) {
	t.Parallel()
	requireIP(t, "::1")
	for _, transport := range []string{"tcp", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSwarmAt(t, "::1")
			s.write("data", 5*pieceSize+1, 1)
			sharer := s.client(10, "sharer", "--transport", transport)
			if !strings.HasPrefix(sharer.addr, "[::1]:") {
				t.Fatalf("the client is ready on %s", sharer.addr)
			}
			sharer.do("share data x.mtorrent")
			downloader := s.client(20, "downloader", "--transport", transport)
			downloader.do("get x.mtorrent copy")
			downloader.do("wait")
			s.same("data", "copy")
			s.allList(s.id("x.mtorrent"), whole(sharer, downloader)...)
		})
	}
}

func TestClientsAreListedByTheirOwnAddresses(t *testing.T) {
	t.Parallel()
	requireIP(t, "127.0.0.2")
	requireIP(t, "127.0.0.3")
	s := newSwarmAt(t, "127.0.0.1")
	s.write("data", 3*pieceSize, 1)
	s.host = "127.0.0.2"
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	s.host = "127.0.0.3"
	downloader := s.client(20, "downloader")
	downloader.do("get x.mtorrent copy")
	downloader.do("wait")
	s.same("data", "copy")
	if !strings.HasPrefix(sharer.addr, "127.0.0.2:") || !strings.HasPrefix(downloader.addr, "127.0.0.3:") {
		t.Fatalf("ready on %s and %s", sharer.addr, downloader.addr)
	}
	s.allList(s.id("x.mtorrent"), whole(sharer, downloader)...)
}

func TestFinishedDownloaderSeedsAfterTheSharerQuit(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newSwarm(t)
	s.write("data", 32<<20, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	var all []*client
	for i, transport := range []string{"tcp", "quic", "auto"} {
		d := s.client(20+i, "downloader-"+transport, "--transport", transport)
		d.do("get x.mtorrent copy-" + d.name)
		all = append(all, d)
	}
	for _, d := range all {
		d.do("wait")
		s.same("data", "copy-"+d.name)
	}
	sharer.quit()
	s.allList(s.id("x.mtorrent"), whole(all...)...)
	for _, d := range all[1:] {
		d.quit()
	}
	late := s.client(30, "late")
	late.do("get x.mtorrent copy-late")
	late.do("wait")
	s.same("data", "copy-late")
	s.allList(s.id("x.mtorrent"), whole(all[0], late)...)
}

func TestUnfinishedDownloadSeedsItsPieces(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newSwarm(t)
	s.write("data", bigSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	first := s.client(20, "first", "--transport", "quic")
	first.do("get x.mtorrent copy-1")
	caught := first.reaches(10)
	freeze(t, sharer.Process)
	// What is on its way still arrives; from then on the frozen sharer sends
	// nothing.
	second := s.client(21, "second")
	second.do("get x.mtorrent copy-2")
	if caught && first.percent() < 100 {
		second.reaches(1)
		if first.percent() == 100 {
			t.Error("the first download completed although its only source stands still")
		}
	} else {
		t.Log("the first download was over before the sharer stood still")
	}
	thaw(t, sharer.Process)
	for i, d := range []*client{first, second} {
		d.do("wait")
		s.same("data", fmt.Sprintf("copy-%d", i+1))
	}
	s.allList(s.id("x.mtorrent"), whole(sharer, first, second)...)
}

func TestDownloadGoesOnElsewhereWhenItsSourceEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*client){
		"quit":   (*client).quit,
		"killed": func(c *client) { c.Kill() },
	} {
		for _, transport := range []string{"tcp", "quic"} {
			t.Run(name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				heavy(t)
				s := newSwarm(t)
				s.write("data", bigSize, 1)
				first := s.client(10, "first")
				first.do("share data x.mtorrent")
				second := s.client(11, "second")
				second.do("share data y.mtorrent")
				d := s.client(20, "downloader", "--transport", transport)
				d.do("get x.mtorrent copy")
				if !d.reaches(5) {
					t.Log("the download was over before its source ended")
				}
				end(first)
				d.do("wait")
				s.same("data", "copy")
			})
		}
	}
}
