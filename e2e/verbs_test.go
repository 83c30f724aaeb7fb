package e2e

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// runs runs a command of mtor to its end and wants it to succeed.
func (s *swarm) runs(args ...string) []string {
	s.Helper()
	out, errs, code := s.ends(s.spawn("mtor "+args[1], args...))
	if code != 0 {
		s.Fatalf("mtor %s: code %d, %q", strings.Join(args, " "), code, errs)
	}
	return out
}

func TestStoppedTrackersFileIsPrinted(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	s.write("other", 3*pieceSize, 2)
	c := s.client(10, "sharer")
	c.do("share data x.mtorrent")
	c.do("share other y.mtorrent")
	s.allList(s.id("x.mtorrent"), whole(c)...)
	s.allList(s.id("y.mtorrent"), whole(c)...)
	c.Kill()
	for _, tr := range s.trackers {
		terminate(t, tr.Process)
		if err := tr.Wait(s.ctx); err != nil {
			t.Fatal(err)
		}
		var got struct {
			List []struct {
				ID, Name string
				Size     int64 `json:"filesize"`
				Seeders  []struct {
					Address string
					Whole   bool
				}
			}
			Tracker struct{ Seeders int }
		}
		file := tr.name + ".db"
		if err := json.Unmarshal([]byte(strings.Join(s.runs("tracker", "seeders", "--json", file), "\n")), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.List) != 2 || got.Tracker.Seeders != 2 {
			t.Errorf("%s: %+v", file, got)
		}
		for _, l := range got.List {
			if len(l.Seeders) != 1 || l.Seeders[0].Address != c.addr || !l.Seeders[0].Whole || l.Size < 1000 {
				t.Errorf("%s: %+v", file, l)
			}
		}
		table := strings.Join(s.runs("tracker", "seeders", file), "\n")
		for _, want := range []string{s.id("x.mtorrent").String(), s.id("y.mtorrent").String(), "data", "other", c.addr, "2 torrents, 2 seeders"} {
			if !strings.Contains(table, want) {
				t.Errorf("the table lacks %q:\n%s", want, table)
			}
		}
	}
}

func TestDamagedFileIsSetAsideAndRefilled(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	c := s.client(10, "sharer")
	c.do("share data x.mtorrent")
	s.allList(s.id("x.mtorrent"), whole(c)...)
	a := s.trackers[0]
	a.Kill()
	file := s.path(a.name + ".db")
	info, err := os.Stat(file)
	if err == nil {
		err = os.Truncate(file, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.start()
	s.allList(s.id("x.mtorrent"), whole(c)...)
	files, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.HasPrefix(f.Name(), a.name+".db.damaged-") }) {
		t.Errorf("nothing was set aside: %v", files)
	}
}

func TestFlippedBitsNeitherEndNorFoolATracker(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	var names []string
	c := s.client(10, "sharer")
	for i := range 8 {
		name := string(rune('a' + i))
		s.write(name, 1000, byte(i))
		c.do("share " + name + " " + name + ".mtorrent")
		names = append(names, name)
	}
	for _, name := range names {
		s.allList(s.id(name+".mtorrent"), whole(c)...)
	}
	c.Kill() // so that it makes up for nothing
	a := s.trackers[0]
	terminate(t, a.Process)
	if err := a.Wait(s.ctx); err != nil {
		t.Fatal(err)
	}
	file := s.path(a.name + ".db")
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range sized(8, 200) {
		b := bytes.Clone(sound)
		for range 1 + rnd.IntN(30) {
			b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		a.start()
		for _, name := range names {
			s.lists([]*tracker{a}, s.id(name+".mtorrent"), whole(c))
		}
		a.Kill()
	}
}
