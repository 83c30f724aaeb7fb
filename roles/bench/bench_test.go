package bench

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFiguresStandBesideTheirTargets(t *testing.T) {
	r := Report{Machine: "m", Load: "l"}
	r.add(Figure{Name: "fast", Value: 300_000, Unit: "x/s", Target: 150_000})
	r.add(Figure{Name: "slow", Value: 100, Unit: "ms", Target: 50, Below: true})
	r.add(Figure{Name: "free", Value: 1.2345, Unit: "us"})
	if !r.Figures[0].Met() || r.Figures[1].Met() || !r.Figures[2].Met() {
		t.Errorf("met: %v", r.Figures)
	}
	var table, doc strings.Builder
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"at least 150000 x/s", "2.00", "at most 50 ms", "0.50", "1.23 us"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if err := r.JSON(&doc); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal([]byte(doc.String()), &back); err != nil || len(back.Figures) != 3 || back.Figures[1] != r.Figures[1] {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestPercentilesAreOfTheWhole(t *testing.T) {
	var ms []float64
	for i := range 100 {
		ms = append(ms, float64(99-i))
	}
	if p50, p99 := percentile(ms, 50), percentile(ms, 99); p50 != 50 || p99 != 99 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	if percentile(nil, 99) != 0 {
		t.Error("nothing has a percentile")
	}
}

func TestEveryTorrentHasAsManyRowsAsTheNextAndNoneTwice(t *testing.T) {
	const sessions, torrents, each = 64, 1000, 10
	rows := map[[2]int]bool{}
	of := map[int]int{}
	for s := range sessions {
		for _, n := range share(s, sessions, torrents, 0, each) {
			if rows[[2]int{s, n}] {
				t.Fatalf("session %d announces torrent %d twice", s, n)
			}
			rows[[2]int{s, n}] = true
			of[n]++
		}
	}
	for n := range torrents {
		if of[n] != each {
			t.Fatalf("torrent %d has %d rows", n, of[n])
		}
	}
}

func TestSwarmOptionsOutOfRangeAreRefused(t *testing.T) {
	good := SwarmOptions{Downloaders: 8, Size: 1 << 20, Limit: 1 << 20}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]SwarmOptions{
		"no downloader": {Size: 1 << 20, Limit: 1 << 20},
		"tiny file":     {Downloaders: 1, Size: 1, Limit: 1 << 20},
		"no limit":      {Downloaders: 1, Size: 1 << 20},
	} {
		if bad.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
