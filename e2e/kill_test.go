package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inFlight bounds the pieces that a download asks one peer for at a time: what a
// kill may cost.
const inFlight = 24

// sent is how many bytes of pieces a client that shows its metrics has sent.
func (s *swarm) sent(metrics string) (bytes int64) {
	s.Helper()
	for line := range strings.Lines(s.get("http://" + metrics + "/metrics")) {
		if strings.HasPrefix(line, "mtor_client_piece_sent_bytes_total{") {
			_, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.Fatal(err)
			}
			bytes += int64(n)
		}
	}
	return bytes
}

// TestKillsAtAnyMomentCostNoMoreThanWhatWasOnItsWay kills a downloader again and
// again, at random moments of its life.
func TestKillsAtAnyMomentCostNoMoreThanWhatWasOnItsWay(t *testing.T) {
	for _, what := range []string{"file", "folder"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			heavy(t)
			s := newSwarm(t)
			shared, same, name := "data/a", s.same, "a"
			size := int64(30*pieceSize + 1)
			s.write("data/a", size, 1)
			if what == "folder" {
				shared, same, name = "data", s.sameFolder, "data"
				s.write("data/b", 9*pieceSize+5, 2)
				s.write("data/in/c", 100, 3)
				s.write("data/in/empty", 0, 4)
				size += 9*pieceSize + 5 + 100
			}
			metrics := s.reserve(s.ip(10))
			sharer := s.client(10, "sharer", "--metrics", metrics, "--upload-limit", "32MiB")
			sharer.do("share " + shared + " x.mtorrent")
			text := s.text("x.mtorrent")
			d := s.client(20, "downloader")

			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			kills, caught := 0, 0
			for copies := 0; kills < sized(10, 120); copies++ {
				s.put("y.mtorrent", text)
				dest := fmt.Sprint("copy-", copies)
				d.do("get y.mtorrent " + dest)
				before, killed := s.sent(metrics), 0
				for whole := false; !whole; {
					done := s.killed(d, rnd, dest, name)
					kills, killed = kills+1, killed+1
					if s.exists(dest) {
						same(shared, dest) // never under its name before it is whole
					} else {
						caught++
						if has := s.goodPieces("x.mtorrent", s.path(dest+".part")); has < done {
							t.Errorf("%d pieces were told of, %d are there after a kill", done, has)
						}
					}
					d.start()
					s.until("the check after the start", func() bool { return d.percent() >= 0 })
					// A kill that comes before anything has must not go on for ever.
					whole = killed >= 8 || d.percent() == 100
				}
				d.do("wait --timeout 2m")
				same(shared, dest)
				if s.exists(dest + ".part") {
					t.Errorf("%s.part stays", dest)
				}
				got, most := s.sent(metrics)-before, size+int64(killed)*inFlight*pieceSize
				if got > most {
					t.Errorf("%d bytes were sent for %d and %d kills: at most %d", got, size, killed, most)
				}
				t.Logf("%d kills, %d of %d bytes were sent twice", killed, got-size, size)
				d.do("remove y.mtorrent")
			}
			if caught == 0 {
				t.Error("no kill came before the end of a download")
			}
			s.allList(s.id("x.mtorrent"), whole(sharer)...)
		})
	}
}

// goodPieces counts the pieces that are right in a file or folder.
func (s *swarm) goodPieces(mtorrent, path string) int {
	s.Helper()
	p := s.spawn("verify", "torrent", "verify", "--json", mtorrent, path)
	out, errs, _ := s.ends(p)
	var report struct{ Good int }
	if err := json.Unmarshal([]byte(strings.Join(out, "\n")), &report); err != nil {
		s.Fatalf("%v: %q, %q", err, out, errs)
	}
	return report.Good
}

// killed kills a downloader at a random moment, and returns how many pieces it
// had told of before.
func (s *swarm) killed(d *client, rnd *rand.Rand, dest, name string) (pieces int) {
	s.Helper()
	wait := time.Duration(rnd.IntN(250)) * time.Millisecond
	if rnd.IntN(4) == 0 {
		wait /= 20 // while it checks what there is
	}
	moment := time.NewTimer(wait)
	defer moment.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	total := s.readMtorrent("x.mtorrent").Filesize
	for {
		select {
		case <-moment.C:
			d.Kill()
			return pieces
		case <-tick.C:
			if percent := d.percent(); percent > 0 && percent < 100 {
				pieces = int(int64(percent) * total / 100 / pieceSize)
			}
		case <-s.ctx.Done():
			s.Fatal("no moment came")
		}
	}
}
