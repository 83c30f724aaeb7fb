package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source struct {
	status    Status
	forgotten []string
}

func (s *source) Status() Status { return s.status }

func (s *source) Forget(_ context.Context, node string) error {
	switch node {
	case "known":
		s.forgotten = append(s.forgotten, node)
		return nil
	case "here":
		return fmt.Errorf("it is connected")
	}
	return fmt.Errorf("%w: %s", ErrUnknown, node)
}

func serve(t *testing.T, src Source) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, src, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestWhatATrackerSaysOfItselfArrives(t *testing.T) {
	at, lag, behind := time.Unix(1_700_000_000, 0).UTC(), 0.25, uint64(7)
	src := &source{status: Status{Node: "ab", Addr: "127.0.0.1:1", Torrents: 1, Seeders: 2, Sessions: 3, Trackers: []Tracker{
		{Node: "cd", Addr: "127.0.0.1:2", Connected: true, Following: true, LastContact: &at, RowsBehind: &behind, Lag: &lag},
		{Addr: "127.0.0.1:3"},
	}}}
	got, err := Ask(t.Context(), serve(t, src))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(src.status, got); diff != "" {
		t.Error(diff)
	}
}

func TestForgetReachesTheTrackerOrSaysWhyNot(t *testing.T) {
	src := &source{}
	addr := serve(t, src)
	if err := Forget(t.Context(), addr, "known"); err != nil || len(src.forgotten) != 1 {
		t.Errorf("forgot %q: %v", src.forgotten, err)
	}
	for node, why := range map[string]string{"here": "it is connected", "../status": "no tracker of that ID", "other": "no tracker of that ID"} {
		if err := Forget(t.Context(), addr, node); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", node, err, why)
		}
	}
}

func TestNothingThatListensIsSaidInOneLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = Ask(t.Context(), addr)
	if err == nil || !strings.HasPrefix(err.Error(), "ask tracker at "+addr) || strings.Contains(err.Error(), "http://") {
		t.Errorf("got %v", err)
	}
}

func TestTrackerThatIsSilentIsSaidToBe(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := Ask(ctx, serve(t, &source{})); err == nil || !strings.Contains(err.Error(), "no answer in") {
		t.Errorf("got %v", err)
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	src := &source{}
	addr := serve(t, src)
	for _, c := range []struct {
		method, path, host string
		code               int
	}{
		{"GET", "/status", "localhost:1", http.StatusOK},
		{"GET", "/status", "[::1]:1", http.StatusOK},
		{"GET", "/status", "evil.example:1", http.StatusForbidden},
		{"GET", "/status", "10.0.0.1", http.StatusForbidden},
		{"DELETE", "/trackers/known", "evil.example", http.StatusForbidden},
		{"POST", "/trackers/known", "127.0.0.1", http.StatusMethodNotAllowed},
		{"POST", "/status", "127.0.0.1", http.StatusMethodNotAllowed},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+addr+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("%s %s for %s: %d, want %d", c.method, c.path, c.host, resp.StatusCode, c.code)
		}
	}
	if len(src.forgotten) != 0 {
		t.Error("a page made the tracker forget another")
	}
}
