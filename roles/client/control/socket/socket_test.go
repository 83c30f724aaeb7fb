package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtor") //nolint:usetesting // a name of the test in it may make it too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func same[T any](t *testing.T, what string, want T) func(got T, err error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestEveryRequestAndAnswerArrivesAsItWasMeant(t *testing.T) {
	api := newRecorder()
	path, _ := serve(t, api)
	c, ctx := dial(t, path), t.Context()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	up, down := int64(8192), int64(0)
	told := int64(0)
	same(t, "share", fullDownload)(c.Share(ctx, "data.bin", "/x.mtorrent", func(done, _ int64) { told = done }))
	same(t, "get", fullDownload)(c.Get(ctx, "/x.mtorrent", "to/"))
	same(t, "downloads", []control.Download{fullDownload})(c.Downloads(ctx))
	same(t, "peers", []control.Peer{fullPeer})(c.Peers(ctx, "x.mtorrent"))
	same(t, "remove", fullRemoved)(c.Remove(ctx, fullDownload.Mtorrent))
	same(t, "pause", fullDownload)(c.Pause(ctx, "data.bin"))
	same(t, "resume", fullDownload)(c.Resume(ctx, fullDownload.ID))
	same(t, "relocate", fullDownload)(c.Relocate(ctx, "data.bin", "there", nil))
	same(t, "seed until", fullDownload)(c.SeedUntil(ctx, "data.bin", control.SeedGoal{Ratio: 2}))
	same(t, "limits", fullLimits)(c.SetLimits(ctx, "", control.LimitChange{Up: &up}))
	same(t, "limits of one", fullLimits)(c.SetLimits(ctx, "data.bin", control.LimitChange{Down: &down}))
	same(t, "status", fullStatus)(c.Status(ctx))
	same(t, "wait", []control.Download{fullDownload})(c.Wait(ctx, 90*time.Second))
	if err := c.Quit(ctx); err != nil {
		t.Error(err)
	}
	id := fullDownload.ID
	want := []string{
		"share " + filepath.Join(here, "data.bin") + " /x.mtorrent",
		"get /x.mtorrent " + filepath.Join(here, "to") + string(filepath.Separator),
		"peers " + id, "remove " + id, "pause " + id, "resume " + id,
		"relocate " + id + " " + filepath.Join(here, "there"),
		"seed until " + id + " {2 0}",
		`limit "" 8192 -`, `limit "` + id + `" - 0`, "wait 1m30s", "quit",
	}
	if diff := cmp.Diff(want, api.heard()); diff != "" {
		t.Error(diff)
	}
	if told > 1 {
		t.Errorf("told of %d of 2 bytes, want 1 or, if it was over before, nothing", told)
	}
}

func TestErrorsComeOutAsTheyWentIn(t *testing.T) {
	api := newRecorder()
	path, _ := serve(t, api)
	c := dial(t, path)
	if _, err := c.Pause(t.Context(), "nothing"); !errors.Is(err, control.ErrUnknown) || !strings.HasPrefix(err.Error(), "pause: nothing ") {
		t.Errorf("a name of none: %v", err)
	}
	api.err = fmt.Errorf("wait: %w", control.ErrUnfinished)
	list, err := c.Wait(t.Context(), time.Second)
	if !errors.Is(err, control.ErrUnfinished) || len(list) != 1 {
		t.Errorf("a wait that is over: %v, %v", list, err)
	}
	api.err = errors.New("status: it is broken")
	if _, err := c.Status(t.Context()); err == nil || err.Error() != api.err.Error() {
		t.Errorf("another: %v", err)
	}
	if _, err := c.Get(t.Context(), "x.mtorrent", "."); err == nil || err.Error() != api.err.Error() {
		t.Errorf("another, of a stream: %v", err)
	}
}

func TestQuitIsAnsweredAndWaitsEndBeforeTheSocketGoes(t *testing.T) {
	api := newRecorder()
	api.waits = true
	path, end := serve(t, api)
	waiter, quitter := dial(t, path), dial(t, path)
	waited := make(chan error, 1)
	go func() {
		_, err := waiter.Wait(context.Background(), 0)
		waited <- err
	}()
	for len(api.heard()) == 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // another goroutine's request has no event to wait for
	}
	if err := quitter.Quit(t.Context()); err != nil {
		t.Error(err)
	}
	end()
	if err := <-waited; err == nil || !strings.Contains(err.Error(), "the client quits") {
		t.Errorf("the wait: %v", err)
	}
	if _, err := quitter.Status(t.Context()); !errors.Is(err, ErrNoClient) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

func TestWhoGoesAwayEndsWhatHeAskedFor(t *testing.T) {
	api := newRecorder()
	api.waits = true
	path, end := serve(t, api)
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		_, err := dial(t, path).Wait(ctx, 0)
		waited <- err
	}()
	for len(api.heard()) == 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // another goroutine's request has no event to wait for
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	end() // waits for the handler, which nothing else ends
}

func TestSocketIsForThisUserAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the folder decides there")
	}
	path, _ := serve(t, newRecorder())
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode()&fs.ModeSocket == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestStaleSocketIsReplacedAndALiveOneRefused(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false) // as of a process that was killed
	stale.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("a stale one: %v", err)
	}
	serveOn(t, l, newRecorder())
	if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a live one: %v", err)
	}
	if _, err := dial(t, path).Status(t.Context()); err != nil {
		t.Errorf("the live one, after that: %v", err)
	}
}

func TestWhatIsNoSocketStays(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, dir, filepath.Join(dir, "no", "folder")} {
		if _, err := Listen(t.Context(), at); err == nil {
			t.Errorf("%s was taken", at)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Listen(t.Context(), filepath.Join(dir, strings.Repeat("x", MaxPath))); !errors.Is(err, ErrPathTooLong) {
		t.Errorf("a long path: %v", err)
	}
}

func TestNobodyAtTheSocketIsSaidInOneLine(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	_, err := dial(t, path).Status(t.Context())
	if !errors.Is(err, ErrNoClient) || !strings.HasSuffix(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	if _, err := dial(t, path).Status(t.Context()); !errors.Is(err, ErrNoClient) {
		t.Errorf("a stale one: %v", err)
	}
}

// other is a server at a socket that is no mtor.
func other(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return dial(t, path)
}

func TestAnswersThatMakeNoSenseAreErrors(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no JSON":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"nothing":       func(http.ResponseWriter, *http.Request) {},
		"another error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
		"cut":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"event": "working"}`) },
		"no reason":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"event": "failed"}`) },
		"no torrent":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"event": "done"}`) },
	} {
		c := other(t, h)
		if d, err := c.Get(t.Context(), "x.mtorrent", "."); err == nil || strings.Contains(err.Error(), "http://") {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	c := other(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	if _, err := c.Status(t.Context()); err == nil {
		t.Error("no JSON: taken for a status")
	}
}

func TestRequestsThatMakeNoSenseChangeNothing(t *testing.T) {
	for name, c := range map[string]struct{ method, path, body string }{
		"no JSON":              {"POST", "/v1/share", "hello"},
		"another field":        {"POST", "/v1/share", `{"path": "/a", "torrent_file": "/b.mtorrent", "mode": 1}`},
		"no .mtorrent":         {"POST", "/v1/share", `{"path": "/a", "torrent_file": "/b.iso"}`},
		"two objects":          {"POST", "/v1/get", `{"path": "/a", "torrent_file": "/b"} {}`},
		"relative":             {"POST", "/v1/get", `{"path": "a", "torrent_file": "/b"}`},
		"nothing":              {"POST", "/v1/share", ""},
		"too much":             {"POST", "/v1/share", `{"path": "/` + strings.Repeat("a", maxRequest) + `"}`},
		"too much that's void": {"POST", "/v1/wait", strings.Repeat(" ", maxRequest) + `{}`},
		"below zero":           {"POST", "/v1/wait", `{"timeout_seconds": -1}`},
		"a limit below zero":   {"PATCH", "/v1/limits", `{"up_bytes_per_second": -5}`},
		"a limit of a crawl":   {"PATCH", "/v1/torrents/x/limits", `{"down_bytes_per_second": 1}`},
		"for ever":             {"POST", "/v1/wait", `{"timeout_seconds": 1e300}`},
		"a ratio below zero":   {"PUT", "/v1/torrents/x/seed-until", `{"ratio": -1}`},
		"a time below zero":    {"PUT", "/v1/torrents/x/seed-until", `{"ratio": 1, "seconds": -0.5}`},
		"seeding for ever":     {"PUT", "/v1/torrents/x/seed-until", `{"seconds": 1e300}`},
		"no number":            {"PUT", "/v1/torrents/x/seed-until", `{"ratio": "1"}`},
		"no whole number":      {"PATCH", "/v1/limits", `{"up_bytes_per_second": 8192.` + strings.Repeat("1", 1000) + `}`},
		"no object":            {"PATCH", "/v1/limits", `[]`},
	} {
		api := newRecorder()
		w := httptest.NewRecorder()
		handler(api).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		var r Refusal
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusBadRequest || r.Code != codeBadRequest || len(r.Text) > 300 || strings.Contains(r.Text, "Go ") {
			t.Errorf("%s: %d %.300q (%v)", name, w.Code, w.Body, err)
		}
		if len(api.heard()) > 0 {
			t.Errorf("%s: %q", name, api.heard())
		}
	}
}

// A request that is taken has been read whole, and says the same again.
func FuzzRequests(f *testing.F) {
	f.Add(`{"path": "/a", "torrent_file": "/b"}`)
	f.Add(`{"path": "/a", "torrent_file": "/b.mtorrent"}`)
	f.Add(`{"timeout_seconds": 1.5}`)
	f.Add(`{"ratio": 1e308, "seconds": 0}`)
	f.Add(`{"up_bytes_per_second": 8192, "down_bytes_per_second": null}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, body string) {
		again(t, body, func(q shareRequest) error { return q.check() })
		again(t, body, func(q getRequest) error { return q.check() })
		again(t, body, func(q relocateRequest) error { return q.check() })
		again(t, body, func(q waitRequest) error { return q.check() })
		again(t, body, func(q goalRequest) error { return q.check() })
		again(t, body, func(q limitRequest) error { return q.check() })
	})
}

func again[Q any](t *testing.T, body string, check func(Q) error) {
	t.Helper()
	var q, same Q
	if decode(strings.NewReader(body), &q) != nil || check(q) != nil {
		return
	}
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatalf("%q was read as %+v: %v", body, q, err)
	}
	if err := decode(strings.NewReader(string(b)), &same); err != nil {
		t.Fatalf("%q became %s: %v", body, b, err)
	}
	if diff := cmp.Diff(q, same); diff != "" {
		t.Fatalf("%q became %s:\n%s", body, b, diff)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(`{"event": "working", "done_bytes": 1, "total_bytes": 2}` + "\n" + `{"event": "done", "torrent": {"name": "x"}}`)
	f.Add(`{"event": "failed", "failure": {"error": "no", "code": "failed"}}`)
	f.Add(`{"event": "later"}`)
	f.Fuzz(func(t *testing.T, body string) {
		last, err := events(strings.NewReader(body), func(e Event) {
			if e.Event != working {
				t.Errorf("heard %+v", e)
			}
		})
		switch {
		case err != nil && last.Event != "":
			t.Errorf("both an event and %v", err)
		case err == nil && (last.Event == failed) != (last.Error != nil):
			t.Errorf("%+v", last)
		}
	})
}
