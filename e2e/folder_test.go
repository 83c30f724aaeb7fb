package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// A folder is shared, fetched over both transports by clients that feed each
// other, and stands there whole, with its modes and without its links.
func TestFolderIsSharedAndFetched(t *testing.T) {
	s := newSwarm(t)
	for name, size := range map[string]int64{
		"model/weights/a.bin": 3*pieceSize + 17, "model/weights/b.bin": pieceSize - 1,
		"model/config.json": 200, "model/empty": 0, "model/bin/run": 4000,
	} {
		s.write(name, size, byte(size))
	}
	if err := os.Chmod(s.path("model/bin/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", s.path("model/link")); err != nil {
		t.Fatal(err)
	}
	sharer := s.client(10, "sharer")
	sharer.do("share model model.mtorrent")
	s.until("a word of the link", func() bool {
		return strings.Contains(strings.Join(sharer.Output(process.Stderr), "\n"), "left out: link is a symbolic link")
	})
	tcp, quic := s.client(11, "tcp", "--transport=tcp"), s.client(12, "quic", "--transport=quic")
	tcp.do("get model.mtorrent over-tcp")
	quic.do("get model.mtorrent over-quic")
	for _, c := range []*client{tcp, quic} {
		c.do("wait --timeout 60s")
		c.shows("[S] model")
	}
	for _, copied := range []string{"over-tcp", "over-quic"} {
		s.sameFolder("model", copied)
		if s.exists(copied + ".part") {
			t.Errorf("%s.part stays", copied)
		}
	}
	s.allList(s.id("model.mtorrent"), whole(sharer, tcp, quic)...)

	// The folder is believed after a restart, and seeded alone.
	tcp.quit()
	sharer.quit()
	quic.quit()
	quic.start()
	quic.shows("[S] model")
	tcp.start()
	tcp.do("remove model.mtorrent")
	if s.exists("model.mtorrent") || !s.exists("over-tcp/config.json") {
		t.Error("remove took the files, or left the .mtorrent")
	}
}

// sameFolder compares all regular files, and that there are no others.
func (s *swarm) sameFolder(original, other string) {
	s.Helper()
	list := func(dir string) map[string]fs.FileMode {
		files := map[string]fs.FileMode{}
		err := filepath.WalkDir(s.path(dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			files[strings.TrimPrefix(path, s.path(dir))] = info.Mode() & 0o100
			return err
		})
		if err != nil {
			s.Fatal(err)
		}
		return files
	}
	want, got := list(original), list(other)
	if len(got) != len(want) {
		s.Fatalf("%s holds %v, want %v", other, got, want)
	}
	for name, mode := range want {
		if at, ok := got[name]; !ok || at != mode {
			s.Fatalf("%s has %s with mode %v, want %v", other, name, at, mode)
		}
		s.same(original+name, other+name)
	}
}

// A seeder whose file was changed, cut, replaced or deleted sends nothing wrong
// and says so; the download goes on with the other seeder.
func TestChangedSeedIsWithdrawnAndTheOtherServes(t *testing.T) {
	for what, change := range map[string]func(s *swarm) error{
		"changed": func(s *swarm) error {
			f, err := os.OpenFile(s.path("bad/data"), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(make([]byte, 8*pieceSize), 0)
			return err
		},
		"cut":     func(s *swarm) error { return os.Truncate(s.path("bad/data"), 100) },
		"deleted": func(s *swarm) error { return os.Remove(s.path("bad/data")) },
		"replaced": func(s *swarm) error {
			return os.Rename(s.path("other"), s.path("bad/data"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			s.write("bad/data", 16*pieceSize, 1)
			s.write("good/data", 16*pieceSize, 1)
			s.write("other", 16*pieceSize, 2)
			bad, good := s.client(10, "bad"), s.client(11, "good")
			bad.do("share bad/data x.mtorrent")
			good.do("share good/data y.mtorrent")
			if s.id("x.mtorrent") != s.id("y.mtorrent") {
				t.Fatal("not the same torrent")
			}
			if err := change(s); err != nil {
				t.Fatal(err)
			}
			d := s.client(12, "downloader")
			d.do("get x.mtorrent copy")
			d.do("wait --timeout 60s")
			s.same("good/data", "copy")
			// Whoever asked it was told, and nobody was sent a wrong byte.
			log, err := os.ReadFile(s.path("downloader.log"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(log), "banned") {
				t.Errorf("wrong bytes were sent:\n%s", log)
			}
		})
	}
}

// A download whose only seeder has lost its file, or half of it, waits, and ends
// when the right file is back. Meanwhile both trackers list what the seeder has.
func TestDownloadOutlivesALostSeed(t *testing.T) {
	for what, lost := range map[string]struct {
		change func(s *swarm) error
		listed string // how the sharer is listed then
	}{
		"deleted": {func(s *swarm) error { return os.Remove(s.path("data")) }, ""},
		"half of it changed": {func(s *swarm) error {
			f, err := os.OpenFile(s.path("data"), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(make([]byte, 8*pieceSize), 0)
			return err
		}, "part"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			s.write("data", 16*pieceSize, 1)
			s.write("kept", 16*pieceSize, 1)
			sharer := s.client(10, "sharer")
			sharer.do("share data x.mtorrent")
			if err := lost.change(s); err != nil {
				t.Fatal(err)
			}
			d := s.client(11, "downloader")
			d.do("get x.mtorrent copy")
			s.until("the sharer to say that its file is gone", func() bool {
				said := sharer.do("show downloads")
				return strings.Contains(said, "changed under the client") || strings.Contains(said, "the file is gone")
			})
			var rows []string // in the order of addresses
			if lost.listed != "" {
				rows = append(rows, sharer.addr+" "+lost.listed)
			}
			rows = append(rows, d.addr+" part")
			s.allList(s.id("x.mtorrent"), rows...)
			if err := os.Rename(s.path("kept"), s.path("data")); err != nil {
				t.Fatal(err)
			}
			sharer.do("get x.mtorrent data")
			d.do("wait --timeout 60s")
			s.same("data", "copy")
			s.allList(s.id("x.mtorrent"), whole(sharer, d)...)
		})
	}
}

// until waits for something that no process announces.
func (s *swarm) until(what string, done func() bool) {
	s.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("waited in vain for %s", what)
		}
	}
}
