package e2e

import (
	"os"
	"strings"
	"testing"
)

// corrupt changes a byte of every piece of a file, which keeps its size and time:
// its seeder has no reason to look at it again.
func (s *swarm) corrupt(name string) {
	s.Helper()
	path := s.path(name)
	info, err := os.Stat(path)
	if err != nil {
		s.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	for at := int64(0); at < info.Size(); at += pieceSize {
		if _, err := f.ReadAt(b, at); err != nil {
			s.Fatal(err)
		}
		b[0]++
		if _, err := f.WriteAt(b, at); err != nil {
			s.Fatal(err)
		}
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		s.Fatal(err)
	}
}

func TestASeederOfBadPiecesIsBannedAndNamedAndTheFileIsRight(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			s.write("data", 24*pieceSize+1, 1)
			s.write("bad/data", 24*pieceSize+1, 1)
			honest := s.client(10, "honest", "--transport", transport)
			honest.do("share data x.mtorrent")
			honest.do("limit up 100kB") // until the other has been found out
			liar := s.client(11, "liar", "--transport", transport)
			liar.do("share bad/data y.mtorrent")
			s.corrupt("bad/data")
			s.allList(s.id("x.mtorrent"), whole(honest, liar)...)

			d := s.client(20, "downloader", "--transport", transport)
			d.do("get x.mtorrent copy")
			s.until("the log names who sent a bad piece", func() bool {
				return strings.Contains(string(s.text("downloader.log")), "banned")
			})
			honest.do("limit up none")
			d.do("wait")
			s.same("data", "copy")
			for line := range strings.Lines(string(s.text("downloader.log"))) {
				if strings.Contains(line, "banned") && (!strings.Contains(line, "level=WARN") || !strings.Contains(line, liar.addr)) {
					t.Errorf("the liar is %s, and the log says %q", liar.addr, line)
				}
			}
		})
	}
}
