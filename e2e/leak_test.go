package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// metric reads one number that a role shows at its metrics address.
func (s *swarm) metric(addr, name string) float64 {
	s.Helper()
	for line := range strings.Lines(s.get("http://" + addr + "/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				s.Fatal(err)
			}
			return n
		}
	}
	s.Skipf("no %s is shown on this system", name)
	return 0
}

// Whoever removes a torrent in the middle, the one who gets it or the one who
// shares it, has nothing left open or running, however often it is done.
func TestRemovingInTheMiddleAgainAndAgainLeavesNothingOpen(t *testing.T) {
	const rounds, slack = 8, 4 // what is lost once a round is more than comes and goes by itself
	for _, transport := range []string{"tcp", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			s.write("data/a", 24*pieceSize, 1)
			s.write("data/in/b", 24*pieceSize, 2)
			shown := []string{s.reserve(s.ip(10)), s.reserve(s.ip(20))}
			sharer := s.client(10, "sharer", "--metrics", shown[0], "--transport", transport, "--upload-limit", slow)
			d := s.client(20, "downloader", "--metrics", shown[1], "--transport", transport)
			base := map[string]float64{}
			var id torrentfmt.ID
			for round := range rounds {
				sharer.do("share data x.mtorrent")
				s.put("y.mtorrent", s.text("x.mtorrent"))
				id = s.id("x.mtorrent")
				d.do("get y.mtorrent copy-" + fmt.Sprint(round))
				if !d.reaches(2) {
					t.Skip("the download was over before it could be removed")
				}
				first, second := func() { d.do("remove y.mtorrent") }, func() { sharer.do("remove x.mtorrent") }
				if round%2 == 1 {
					first, second = second, first
				}
				first()
				second()
				for _, c := range []*client{sharer, d} {
					for _, name := range []string{"data", "copy"} {
						if open := c.holds(t, name); len(open) > 0 {
							t.Errorf("%s still has open: %q", c.name, open)
						}
					}
				}
				for _, addr := range shown {
					for _, what := range []string{"process_open_fds", "go_goroutines"} {
						if round == 0 {
							base[addr+what] = s.metric(addr, what)
							continue
						}
						if round == rounds-1 {
							s.until(what+" to be what it was", func() bool { return s.metric(addr, what) <= base[addr+what]+slack })
						}
					}
				}
			}
			s.allList(id)
		})
	}
}
