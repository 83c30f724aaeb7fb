package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// put writes a file of the test's folder as a whole, by renaming.
func (s *swarm) put(name string, text []byte) {
	s.Helper()
	if err := os.WriteFile(s.path("put.tmp"), text, 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(s.path("put.tmp"), s.path(name)); err != nil {
		s.Fatal(err)
	}
}

// text is a file of the test's folder.
func (s *swarm) text(name string) []byte {
	s.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	return b
}

func TestAClientWithoutArgumentsFetchesAndSeedsWhatIsInItsWatchedFolder(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	sharer := s.client(10, "sharer")
	s.write("one.bin", 3*pieceSize+1, 1)
	s.write("two.bin", 2*pieceSize, 2)
	sharer.do("share one.bin one.mtorrent")
	sharer.do("share two.bin two.mtorrent")
	for _, dir := range []string{"in", "files"} {
		if err := os.Mkdir(s.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.put("client.yaml", fmt.Appendf(nil, `
addr: "%s:0"
trackers: ["%s", "%s"]
log_file: headless.log
state: headless.state
menu: false
watch: [in]
watch_to: files
watch_every: 1s
`, s.ip(20), s.trackers[0].addr, s.trackers[1].addr))
	c := &client{s: s, name: "headless", args: []string{"client", "--config", "client.yaml"}}
	start := func() {
		c.Process = s.spawn(c.name, c.args...)
		addr, err := c.Ready(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		c.addr = addr
	}

	// What is there at the start, and beside it half a file and a hidden one.
	one, two := s.text("one.mtorrent"), s.text("two.mtorrent")
	s.put("in/one.mtorrent", one)
	s.put("in/two.mtorrent", two[:len(two)/2])
	s.put("in/.three.mtorrent", two)
	start()
	s.bothList(s.id("one.mtorrent"), whole(sharer, c)...)
	s.same("one.bin", "files/one.bin")
	s.logs("headless.log", "watched file: tried again every minute, told once")
	s.bothList(s.id("two.mtorrent"), whole(sharer)...)

	// The rest of the half comes.
	s.put("in/two.mtorrent", two)
	s.bothList(s.id("two.mtorrent"), whole(sharer, c)...)
	s.same("two.bin", "files/two.bin")
	if n := bytes.Count(s.text("headless.log"), []byte("told once")); n != 1 {
		t.Errorf("a file that could not be read was told %d times", n)
	}

	// What is taken out is no longer seeded, and stays where it is.
	if err := os.Remove(filepath.Join(s.dir, "in", "one.mtorrent")); err != nil {
		t.Fatal(err)
	}
	s.bothList(s.id("one.mtorrent"), whole(sharer)...)
	s.same("one.bin", "files/one.bin")

	// Over a restart, too, with what changed meanwhile.
	c.Kill()
	if err := os.Remove(s.path("in/two.mtorrent")); err != nil {
		t.Fatal(err)
	}
	s.put("in/one.mtorrent", one)
	start()
	s.bothList(s.id("one.mtorrent"), whole(sharer, c)...)
	s.logs("headless.log", "removed: it is no longer in the watched folder\" folder="+s.path("in")+" mtorrent=two.mtorrent")
}
