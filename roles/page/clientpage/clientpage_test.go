package clientpage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// library is what a client says of itself at one moment.
type library struct {
	list []control.Download
	with map[string][]control.Peer // by torrent ID; those without are unknown
	err  error
}

func (l library) Status(context.Context) (control.Status, error) {
	return control.Status{
		Listed: "10.0.0.3:7001", StateDir: "/var/lib/mtor", Started: time.Now().Add(-time.Hour), Sessions: 3, DownRate: 3 << 20,
		Trackers: []control.TrackerSet{{Addrs: []string{"10.0.0.1:7000", "10.0.0.2:7000"}}, {Addrs: []string{"10.9.9.9:1"}, Reachable: true}},
	}, l.err
}

func (l library) Downloads(context.Context) ([]control.Download, error) {
	return slices.Clone(l.list), nil
}

func (l library) Peers(_ context.Context, name string) ([]control.Peer, error) {
	if list, ok := l.with[name]; ok {
		return list, nil
	}
	return nil, fmt.Errorf("peers: %s %w", name, control.ErrUnknown)
}

func (l library) page(t *testing.T) (status int, body string) {
	t.Helper()
	r := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
	w := httptest.NewRecorder()
	New(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9201}, "", l).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// inOrder holds a text against parts that it has, one after the other.
func inOrder(t *testing.T, body string, parts ...string) {
	t.Helper()
	rest := body
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("it lacks %q, or has it before what should stand before it:\n%s", part, body)
		}
		rest = after
	}
}

func TestWhatSomebodyWaitsForComesFirstAndThenWhatWentWrong(t *testing.T) {
	const whole = 2 << 20
	l := library{list: []control.Download{
		{ID: "1", Name: "at rest", State: control.Seeding, Size: whole, Done: whole, DownRate: 5000},
		{ID: "2", Name: "being sent", State: control.Seeding, Size: whole, Done: whole, UpRate: 2 << 20},
		{ID: "3", Name: "gone", State: control.Missing, Size: whole, Note: "its file was <deleted>"},
		{ID: "4", Name: "coming", State: control.Downloading, Size: whole, Done: whole / 4, DownRate: whole / 100, Peers: 1,
			Sources: map[string]int{"tcp 10.0.0.4:1": 1, "quic 10.0.0.5:1": 2, "tcp 10.0.0.6:1": 3}},
		{ID: "5", Name: "waits for room", State: control.NoRoom, Size: whole},
		{ID: "6", Name: "empty", State: control.Seeding},
	}, with: map[string][]control.Peer{"4": {{Addr: "10.0.0.4:1", Transport: "tcp", Pieces: 3, Of: 4, Received: 1, DownRate: 2048}}}}
	status, body := l.page(t)
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	inOrder(t, body,
		"coming in</dt><dd>3.0 MiB/s", "going out</dt><dd>–", "downloading</dt><dd>1<", "whole</dt><dd>3<", "sessions</dt><dd>3<",
		"10.0.0.3:7001", "up for 1 h", "/var/lib/mtor", "No tracker answers: 10.0.0.1:7000, 10.0.0.2:7000",
		`class="downloading"`, "coming", `value="524288" max="2097152"`, "25 %", "2.0 MiB", "20 KiB/s", "1 min 15 s",
		"1 peer, 4 pieces over tcp, 2 pieces over quic", "10.0.0.4:1", "3 of 4", "2.0 KiB/s",
		`class="stopped"`, "gone", "missing", "its file was &lt;deleted&gt;",
		`class="waiting"`, "waits for room", "no room",
		"being sent", "2.0 MiB/s", "at rest", "100 %", "–", "empty", `value="1" max="1"`, "100 %",
	)
	if strings.Contains(body, "10.9.9.9:1") || strings.Contains(body, "4.9 KiB/s") {
		t.Errorf("it shows trackers that answer, or what no longer comes in: %s", body)
	}
}

func TestAPageOfManyTorrentsAndPeersStaysSmall(t *testing.T) {
	l := library{with: map[string][]control.Peer{}}
	for i := range 5000 {
		id := fmt.Sprint(i)
		l.list = append(l.list, control.Download{ID: id, Name: "file", State: control.Downloading, Size: 1, Peers: 500})
		l.with[id] = make([]control.Peer, 500)
	}
	_, body := l.page(t)
	inOrder(t, body, "480 peers more.", "4,900 torrents more.")
	if len(body) > 1<<20 {
		t.Errorf("%d bytes", len(body))
	}
}

func TestAClientThatEndsIsSaidToHaveEnded(t *testing.T) {
	status, body := library{err: errors.New("status: the client has ended")}.page(t)
	if status != 503 || !strings.Contains(body, "the client has ended") {
		t.Errorf("%d: %s", status, body)
	}
	// One that was removed between two questions is no error.
	status, body = library{list: []control.Download{{ID: "1", Name: "x", State: control.Downloading, Size: 1, Peers: 1}}}.page(t)
	if status != 200 {
		t.Errorf("%d: %s", status, body)
	}
}
