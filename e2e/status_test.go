package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// status is what a tracker answers of itself.
type status struct {
	Torrents, Seeders, Sessions int
	Trackers                    []struct {
		Node, Address        string
		Connected, Following bool
		LastContact          *time.Time `json:"last_contact"`
		RowsBehind           *uint64    `json:"rows_behind"`
		Lag                  *float64   `json:"lag_seconds"`
	}
}

// admin is the admin address of a tracker that was started with --admin.
func (t *tracker) admin() string {
	t.s.Helper()
	l, err := t.Line(t.s.ctx, 0, func(l process.Line) bool { return strings.HasPrefix(l.Text, "admin on ") })
	if err != nil {
		t.s.Fatal(err)
	}
	return strings.TrimPrefix(l.Text, "admin on ")
}

// status asks until ok accepts the answer.
func (t *tracker) status(ok func(status) bool) status {
	t.s.Helper()
	addr := t.admin()
	for {
		var got status
		out := t.s.runs("tracker", "status", "--json", addr)
		if err := json.Unmarshal([]byte(strings.Join(out, "\n")), &got); err != nil {
			t.s.Fatal(err)
		}
		if ok(got) {
			return got
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.s.ctx.Done():
			t.s.Fatalf("the last status: %s", strings.Join(out, "\n"))
		}
	}
}

func TestStatusTellsOfTheListAndTheOtherTracker(t *testing.T) {
	t.Parallel()
	s := newPair(t, "--admin", "127.0.0.1:0")
	s.startAll()
	s.write("data", 1000, 1)
	c := s.client(10, "sharer")
	c.do("share data x.mtorrent")
	s.allList(s.id("x.mtorrent"), whole(c)...)
	a, b := s.trackers[0], s.trackers[1]
	for _, tr := range s.trackers {
		got := tr.status(func(g status) bool {
			return len(g.Trackers) == 1 && g.Trackers[0].Connected && g.Trackers[0].Following &&
				g.Trackers[0].RowsBehind != nil && *g.Trackers[0].RowsBehind == 0
		})
		x := got.Trackers[0]
		if got.Torrents != 1 || got.Seeders != 1 || got.Sessions < 1 || x.LastContact == nil || time.Since(*x.LastContact) > time.Minute || x.Lag == nil || *x.Lag > 60 {
			t.Errorf("%s: %+v", tr.name, got)
		}
	}
	b.Kill()
	s.write("more", 1000, 2)
	c.do("share more y.mtorrent")
	got := a.status(func(g status) bool {
		return !g.Trackers[0].Connected && !g.Trackers[0].Following && *g.Trackers[0].RowsBehind > 0
	})
	if *got.Trackers[0].Lag <= 0 {
		t.Errorf("with the other killed: %+v", got)
	}

	// On a new file, with a new key, it is a new member; the old one will not
	// return.
	for _, file := range []string{".db", ".db.key"} {
		if err := os.Remove(s.path(b.name + file)); err != nil {
			t.Fatal(err)
		}
	}
	old := got.Trackers[0].Node
	b.start()
	a.status(func(g status) bool { return len(g.Trackers) == 2 && g.Trackers[0].Following })
	s.runs("tracker", "forget", old[:12], "--admin", a.admin())
	got = a.status(func(g status) bool { return len(g.Trackers) == 1 })
	if got.Trackers[0].Node == old {
		t.Errorf("the wrong one was forgotten: %+v", got)
	}
	_, errs, code := s.ends(s.spawn("forget", "tracker", "forget", got.Trackers[0].Node, "--admin", a.admin()))
	if code != 1 || !strings.Contains(fmt.Sprint(errs), "it is connected") {
		t.Errorf("forget one that is connected: code %d, %q", code, errs)
	}
}
