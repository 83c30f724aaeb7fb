package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slow is a limit that makes a file of midSize take 4 seconds from one seeder:
// time enough to do something in the middle.
const (
	slow    = "6MiB"
	midSize = 48*pieceSize + 1
)

// holds lists what a process has open at paths in the test's folder that begin
// with name.
func (c *client) holds(t *testing.T, name string) []string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", c.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("descriptors cannot be counted here: %v", err)
	}
	var open []string
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, c.s.path(name)) {
			open = append(open, to)
		}
	}
	return open
}

// awaitLine waits until show downloads holds want.
func (c *client) awaitLine(want string) {
	c.s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		line := c.do("show downloads")
		if strings.Contains(line, want) {
			return
		}
		select {
		case <-tick.C:
		case <-c.s.ctx.Done():
			c.s.Fatalf("%s shows %q: want %q", c.name, line, want)
		}
	}
}

func TestADownloadIsRemovedInTheMiddleAndTakenUpAgain(t *testing.T) {
	for _, how := range []string{"tcp", "quic", "folder"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			transport, same := how, s.same
			if how == "folder" {
				transport, same = "tcp", s.sameFolder
				s.write("data/a", 24*pieceSize, 1)
				s.write("data/in/b", midSize-24*pieceSize, 2)
			} else {
				s.write("data", midSize, 1)
			}
			sharer := s.client(10, "sharer", "--upload-limit", slow)
			sharer.do("share data x.mtorrent")
			id := s.id("x.mtorrent")
			text := s.text("x.mtorrent")
			s.put("y.mtorrent", text)
			d := s.client(20, "downloader", "--transport", transport)
			d.do("get y.mtorrent copy")
			if !d.reaches(10) {
				t.Skip("the download was over before it could be removed")
			}
			answer := d.do("remove y.mtorrent")
			m := regexp.MustCompile(`^removed y\.mtorrent: (\d+) of 49 pieces stay in (.*), get goes on from there$`).FindStringSubmatch(answer)
			if len(m) < 3 || m[2] != s.path("copy.part") {
				t.Fatalf("remove says %q", answer)
			}
			kept, _ := strconv.Atoi(m[1])
			if kept < 4 || kept > 48 {
				t.Errorf("%d pieces are kept", kept)
			}
			if s.exists("y.mtorrent") || s.exists("copy") || !s.exists("copy.part") {
				t.Error("the .mtorrent stays, the .part is gone, or there is something under the final name")
			}
			if open := d.holds(t, "copy"); len(open) > 0 {
				t.Errorf("still open: %q", open)
			}
			s.allList(id, whole(sharer)...)
			if line := d.do("show downloads"); line != "no downloads" {
				t.Errorf("show downloads says %q", line)
			}
			sharer.awaitLine(" 0 peers")

			s.put("y.mtorrent", text)
			d.do("get y.mtorrent copy")
			d.do("wait")
			same("data", "copy")
			if s.exists("copy.part") {
				t.Error("the .part stays beside the whole file")
			}
			s.allList(id, whole(sharer, d)...)
			s.logs("downloader.log", fmt.Sprintf("from=\"%s %s=%d\"", transport, sharer.addr, 49-kept))
			d.quit()
		})
	}
}

// TestASeederLeavesInTheMiddle has two download from two seeders, of which one
// removes the torrent or quits.
func TestASeederLeavesInTheMiddle(t *testing.T) {
	for _, transport := range []string{"tcp", "quic"} {
		for _, how := range []string{"remove", "quit"} {
			t.Run(transport+" "+how, func(t *testing.T) {
				t.Parallel()
				s := newSwarm(t)
				s.write("data", midSize, 1)
				first := s.client(10, "first", "--upload-limit", slow)
				first.do("share data x.mtorrent")
				text := s.text("x.mtorrent")
				second := s.client(11, "second", "--upload-limit", slow)
				second.do("share data y.mtorrent")
				id := s.id("x.mtorrent")
				var downloaders []*client
				for i := range 2 {
					s.put(fmt.Sprintf("%d.mtorrent", i), text)
					d := s.client(20+i, fmt.Sprintf("downloader-%d", i), "--transport", transport)
					d.do(fmt.Sprintf("get %d.mtorrent copy-%d", i, i))
					downloaders = append(downloaders, d)
				}
				if !downloaders[0].reaches(5) {
					t.Log("the download was over before its source ended")
				}
				switch how {
				case "remove":
					if answer := first.do("remove x.mtorrent"); answer != "removed x.mtorrent" {
						t.Errorf("remove says %q", answer)
					}
					if open := first.holds(t, "data"); len(open) > 0 {
						t.Errorf("still open: %q", open)
					}
				case "quit":
					first.quit()
				}
				for i, d := range downloaders {
					d.do("wait")
					s.same("data", fmt.Sprintf("copy-%d", i))
					if log := s.text(d.name + ".log"); strings.Contains(string(log), "stalled") {
						t.Errorf("%s waited for the seeder that had left", d.name)
					}
				}
				s.same("data", "data")
				s.allList(id, whole(second, downloaders[0], downloaders[1])...)
			})
		}
	}
}

func TestADownloadWithoutSeedersWaitsAndGoesOnWhenOneIsBack(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", midSize, 1)
	sharer := s.client(10, "sharer", "--upload-limit", slow)
	sharer.do("share data x.mtorrent")
	text := s.text("x.mtorrent")
	s.put("0.mtorrent", text)
	d := s.client(20, "downloader")
	d.do("get 0.mtorrent copy")
	if !d.reaches(5) {
		t.Skip("the download was over before its seeder could quit")
	}
	sharer.quit()
	s.until("the download says that it waits", func() bool {
		return strings.Contains(d.do("show downloads"), "waits for peers")
	})
	if n := d.percent(); n == 100 {
		t.Fatalf("%d%% are here without a seeder", n)
	}
	sharer.start()
	d.do("wait")
	s.same("data", "copy")
	if log := string(s.text("downloader.log")); strings.Contains(log, "level=ERROR") {
		t.Error("the wait was logged as an error")
	}
}

func TestAClientThatQuitsInTheMiddleGoesOnAtItsNextStart(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", midSize, 1)
	sharer := s.client(10, "sharer", "--upload-limit", slow)
	sharer.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	quits, stays := s.client(20, "quits"), s.client(21, "stays")
	quits.do("get x.mtorrent copy-1")
	stays.do("get x.mtorrent copy-2")
	if !quits.reaches(10) {
		t.Skip("the download was over before it could quit")
	}
	quits.quit()
	if s.exists("copy-1") || !s.exists("copy-1.part") {
		t.Error("there is something under the final name, or the .part is gone")
	}
	stays.do("wait")
	s.same("data", "copy-2")
	s.allList(id, whole(sharer, stays)...)
	quits.start()
	quits.do("wait")
	s.same("data", "copy-1")
	s.allList(id, whole(sharer, stays, quits)...)
}
