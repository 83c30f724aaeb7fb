package metrics

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything is the registries of both roles, with a value for each metric.
func everything() []*prometheus.Registry {
	b := Build{"1.0.0", "abc"}
	c := NewRegistry("client", b)
	RegisterDisks(c, Folder{"state", "."})
	NewClient(c, func() ClientGauges { return ClientGauges{} })
	t := NewRegistry("tracker", b)
	RegisterDisks(t, Folder{"seederlist", "."})
	NewTracker(t, []string{"10.0.0.2:7000"}, func() TrackerGauges {
		return TrackerGauges{Peers: []PeerGauges{{Peer: "10.0.0.2:7000", Known: true}}}
	})
	return []*prometheus.Registry{c, t}
}

// serve shows a registry until the test ends.
func serve(t *testing.T, reg *prometheus.Registry, addr string, withPprof bool) (*Admin, func(path string) (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	a, err := Listen(ctx, addr, reg, withPprof)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	hc := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		hc.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return a, func(path string) (int, string) {
		r, err := hc.Get("http://" + a.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
}

func TestAddressWithoutHostIsThisMachineAlone(t *testing.T) {
	a, _ := serve(t, everything()[0], ":0", false)
	if host, _, _ := strings.Cut(a.Addr().String(), ":"); host != "127.0.0.1" {
		t.Errorf("it listens on %v", a.Addr())
	}
}

func TestAllAddressesOfIPv4AreNotThoseOfIPv6(t *testing.T) {
	a, _ := serve(t, everything()[0], "0.0.0.0:0", false)
	if host, _, _ := net.SplitHostPort(a.Addr().String()); host != "0.0.0.0" {
		t.Errorf("it listens on %v", a.Addr())
	}
}

func TestReadyOnlyBetweenStartAndStopAndDegradedIsReady(t *testing.T) {
	a, get := serve(t, everything()[0], "127.0.0.1:0", false)
	want := func(path string, code int, body string) {
		t.Helper()
		if c, b := get(path); c != code || b != body {
			t.Errorf("%s: %d %q: want %d %q", path, c, b, code, body)
		}
	}
	want("/healthz", 200, "ok\n")
	want("/readyz", 503, "not ready\nstarting\n")
	want("/", 503, "starting\n")
	a.Show(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") }))
	want("/", 200, "a page")
	var now Health
	a.Ready(func() Health { return now })
	want("/readyz", 200, "ready\n")
	now.Degraded = []string{"not in step with tracker 10.0.0.2:7000"}
	want("/readyz", 200, "degraded\nnot in step with tracker 10.0.0.2:7000\n")
	now.Unready = []string{"stopping"}
	want("/readyz", 503, "not ready\nstopping\n")
	want("/healthz", 200, "ok\n")
}

func TestProfilesAreShownOnlyWhenAskedFor(t *testing.T) {
	for shown, code := range map[bool]int{false: 404, true: 200} {
		_, get := serve(t, everything()[0], "127.0.0.1:0", shown)
		if c, _ := get("/debug/pprof/"); c != code {
			t.Errorf("pprof %v: %d", shown, c)
		}
	}
}

func TestMetricsAreServedAsText(t *testing.T) {
	_, get := serve(t, everything()[0], "127.0.0.1:0", false)
	code, body := get("/metrics")
	if code != 200 || !strings.Contains(body, "\nmtor_client_piece_received_bytes_total{transport=\"quic\"} 0\n") ||
		!strings.Contains(body, `mtor_build_info{commit="abc",go_version="go`) {
		t.Errorf("%d\n%s", code, body)
	}
}

// labels are all that a metric of mtor's may be split by: no name that a
// stranger chooses is among them.
var labels = []string{
	"transport", "result", "reason", "state", "request", "peer", "of", "role", "version", "commit", "go_version",
}

func TestLabelsAreOfAFewKnownKinds(t *testing.T) {
	for _, reg := range everything() {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "mtor_") {
				continue
			}
			for _, l := range f.GetMetric()[0].GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					t.Errorf("%s has the label %s", f.GetName(), l.GetName())
				}
			}
		}
	}
}

func TestWhatIsCountedIsShown(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := NewClient(reg, func() ClientGauges {
		return ClientGauges{Sessions: map[string]int{"tcp": 3}, Downloads: map[string]int{"seeding": 2}, Wanted: 7}
	})
	c.PieceReceived("tcp", 512, 2*time.Second)
	c.PieceSent("quic", 9)
	c.PieceEnded("bad_hash")
	c.Chose("quic")
	c.FellBack("quic")
	c.Banned()
	c.Refused("quic", "broke_off")
	c.Refused("quic", "a reason that there is not")
	tr := NewTracker(reg, []string{"b:1"}, func() TrackerGauges {
		return TrackerGauges{Rows: 4, Peers: []PeerGauges{{Peer: "b:1", Connected: true, Known: true, Behind: 5}, {Peer: "c:1"}}}
	})
	tr.Answered("announce", "too_many", time.Second)
	tr.SyncLag("b:1", time.Second)
	tr.Repaired("b:1", 3)
	tr.Refused("tcp", "no_key")
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	for name, v := range map[string]float64{
		"mtor_client_piece_received_bytes_total tcp": 512, "mtor_client_piece_fetch_seconds tcp": 2,
		"mtor_client_piece_sent_bytes_total quic": 9, "mtor_client_pieces_total bad_hash": 1,
		"mtor_client_dialled_total quic": 1, "mtor_client_fallbacks_total quic": 1, "mtor_client_bans_total": 1, "mtor_client_sessions tcp": 3,
		"mtor_client_downloads seeding": 2, "mtor_client_wanted_bytes": 7,
		"mtor_tracker_requests_total announce too_many": 1, "mtor_tracker_sync_lag_seconds b:1": 1,
		"mtor_client_handshakes_refused_total broke_off quic": 1, "mtor_tracker_handshakes_refused_total no_key tcp": 1,
		"mtor_tracker_repairs_total b:1": 3, "mtor_tracker_rows": 4, "mtor_tracker_sync_behind_rows b:1": 5,
		"mtor_tracker_sync_connected b:1": 1, "mtor_tracker_sync_connected c:1": 0,
	} {
		if got[name] != v {
			t.Errorf("%s is %v: want %v", name, got[name], v)
		}
	}
	if _, told := got["mtor_tracker_sync_behind_rows c:1"]; told {
		t.Error("what a tracker lacks that was never heard of is told")
	}
}

func TestAScrapeThatHangsKeepsNothingElseFromGoingOn(t *testing.T) {
	reg := prometheus.NewRegistry()
	scraped, released := make(chan struct{}), make(chan struct{})
	c := NewClient(reg, func() ClientGauges {
		close(scraped)
		<-released
		return ClientGauges{}
	})
	a, get := serve(t, reg, "127.0.0.1:0", false)
	a.Ready(func() Health { return Health{} })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if code, _ := get("/metrics"); code != http.StatusOK {
			t.Errorf("the scrape ended with %d", code)
		}
	}()
	<-scraped
	for range 1000 {
		countPiece(c)
		c.PieceSent("quic", 512<<10)
	}
	if code, _ := get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d", code)
	}
	close(released)
	<-ended
}

func TestCountingAPieceAllocatesNothing(t *testing.T) {
	c := NewClient(prometheus.NewRegistry(), func() ClientGauges { return ClientGauges{} })
	if n := testing.AllocsPerRun(1000, func() { countPiece(c) }); n != 0 {
		t.Errorf("%v allocations a piece", n)
	}
}

// countPiece is all that is counted of a piece at the side that fetches it.
func countPiece(c *Client) {
	c.PieceReceived("tcp", 512<<10, 3*time.Millisecond)
	c.PieceEnded("verified")
}

func BenchmarkCountPiece(b *testing.B) {
	c := NewClient(prometheus.NewRegistry(), func() ClientGauges { return ClientGauges{} })
	b.ReportAllocs()
	for b.Loop() {
		countPiece(c)
	}
}

func BenchmarkCountPieceSent(b *testing.B) {
	c := NewClient(prometheus.NewRegistry(), func() ClientGauges { return ClientGauges{} })
	b.ReportAllocs()
	for b.Loop() {
		c.PieceSent("quic", 128<<10)
	}
}

func BenchmarkCountRequest(b *testing.B) {
	t := NewTracker(prometheus.NewRegistry(), nil, func() TrackerGauges { return TrackerGauges{} })
	b.ReportAllocs()
	for b.Loop() {
		t.Answered("announce", "ok", time.Millisecond)
	}
}

func ExampleListen() {
	ctx, cancel := context.WithCancel(context.Background())
	a, err := Listen(ctx, ":0", NewRegistry("client", Build{"1.0.0", "abc"}), false)
	if err != nil {
		fmt.Println(err)
	}
	cancel()
	fmt.Println(a.Serve(ctx))
	// Output: <nil>
}
