package trackerpage

import (
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/admin"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// list is what a tracker says of itself.
type list struct {
	status admin.Status
	looks  int
}

func (l *list) Status() admin.Status { return l.status }

func (l *list) Busiest(n int) []registry.Standing {
	l.looks++
	out := make([]registry.Standing, n)
	for i := range out {
		out[i] = registry.Standing{Info: registry.Info{Name: fmt.Sprint("file ", i), Size: 1 << 20}, Listed: n - i, Whole: 1}
	}
	return out
}

func TestAPageTellsOfEachOtherTrackerAndOfTheBusiestTorrents(t *testing.T) {
	at, lag, long, none, some := time.Now().Add(-90*time.Second), 0.0123, 75.0, uint64(0), uint64(7)
	l := &list{status: admin.Status{
		Node: "ab", Addr: "10.0.0.1:7000", Torrents: 1234, Seeders: 5, Sessions: 6,
		Trackers: []admin.Tracker{
			{Node: "cd", Addr: "10.0.0.2:7000", Connected: true, Following: true, LastContact: &at, Lag: &lag, RowsBehind: &none},
			{Node: "ef", Connected: true, Lag: &long, RowsBehind: &some},
			{Addr: "10.0.0.4:7000"},
		},
	}}
	h := New(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9200}, "", l)
	var body string
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/", nil))
		body = w.Body.String()
	}
	rest := body
	for _, part := range []string{
		"<dd>1234</dd>", "<dd>5</dd>", "<dd>6</dd>", "10.0.0.1:7000",
		"10.0.0.2:7000", "state up", "both ways", "12.3 ms", "0 changes", "1 min 30 s ago",
		"not configured", "state down", "from it only", "1 min 15 s", "7 changes", "never",
		"10.0.0.4:7000", "down", "–", "–", "never",
		"file 0", "1.0 MiB", ">50<", "file 49", "1,184 torrents more.",
	} {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("it lacks %q, or has it before what should stand before it:\n%s", part, body)
		}
		rest = after
	}
	if l.looks != 1 {
		t.Errorf("for three looks in a row every torrent was looked at %d times", l.looks)
	}
}
