package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// edit replaces a piece of source text, which stands there once.
type edit struct{ file, old, new string }

// newer builds an mtor of a later version: today's, with edits.
func newer(t *testing.T, name string, edits ...edit) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, e := range edits {
		path, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 || overlay.Replace[path] != "" {
			t.Fatalf("%s has %q %d times: this test must follow the code", e.file, e.old, n)
		}
		to := filepath.Join(dir, fmt.Sprint(i, ".go"))
		if err := os.WriteFile(to, bytes.Replace(text, []byte(e.old), []byte(e.new), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = to
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, name+filepath.Ext(binary))
	if err := build(exe, "-overlay", list); err != nil {
		t.Fatal(err)
	}
	return exe
}

// What a later version may say that today's does not know: a field in every
// message, one in every row, and entries of a kind of their own, one a row.
// Each field is number 100, bytes.
const (
	laterField  = `"\xa2\x06\x05later"`
	laterKind   = 77
	laterRecord = `"\xa2\x06\x06record"`
)

var (
	saysMore = edit{"roles/wire/wire.go", `func Append(b []byte, m proto.Message) ([]byte, error) {
`, `func Append(b []byte, m proto.Message) ([]byte, error) {
	m.ProtoReflect().SetUnknown([]byte(` + laterField + `))
`}
	writesMore = edit{"roles/tracker/registry/core.go", `func (b *batch) write(e Entry) Stamp {
`, `func (b *batch) write(e Entry) Stamp {
	if e.Kind == KindRow {
		b.write(Entry{Kind: ` + fmt.Sprint(laterKind) + `, Extra: []byte(` + laterRecord + `)})
		e.Extra = []byte(` + laterField + `)
	}
`}
	laterStore    = edit{"roles/tracker/registry/store.go", "storeVersion = 2\n", "storeVersion = 3\n"}
	laterProtocol = edit{"roles/wire/wire.go", "	Version = 1\n", "	Version = 2\n"}
)

// fields are what a stopped tracker's file holds that today's version does not
// know, by the dots of the entries.
func (t *tracker) fields() (rows, records map[registry.Dot]string) {
	t.s.Helper()
	b, err := os.ReadFile(t.s.path(t.name + ".db"))
	if err != nil {
		t.s.Fatal(err)
	}
	looked := filepath.Join(t.s.TempDir(), "copy.db")
	if err := os.WriteFile(looked, b, 0o600); err != nil {
		t.s.Fatal(err)
	}
	reg, err := registry.Open(looked)
	if err != nil {
		t.s.Fatal(err)
	}
	defer reg.Close()
	scan := reg.Scan(nil)
	defer scan.Close()
	rows, records = map[registry.Dot]string{}, map[registry.Dot]string{}
	for {
		entries, err := scan.Next(1000)
		if err != nil {
			t.s.Fatal(err)
		}
		if len(entries) == 0 {
			return rows, records
		}
		for _, e := range entries {
			switch {
			case e.Kind == laterKind:
				records[e.Dot] = string(e.Extra)
			case len(e.Extra) > 0:
				rows[e.Dot] = string(e.Extra)
			}
		}
	}
}

// end ends a tracker in order.
func (t *tracker) end() {
	t.s.Helper()
	terminate(t.s.T, t.Process)
	if err := t.Wait(t.s.ctx); err != nil {
		t.s.Fatal(err)
	}
}

// readers ask both trackers for a list all the time: one at least must answer,
// with the line in it. The function that is returned ends that.
func (s *swarm) readers(id torrentfmt.ID, line string) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for asked := 0; ; asked++ {
			var said []string
			for _, tr := range s.trackers {
				got, err := seeders(ctx, tr.addr, id)
				if err == nil && slices.Contains(got, line) {
					said = nil
					break
				}
				said = append(said, fmt.Sprintf("%s lists %q (%v)", tr.name, got, err))
			}
			if ctx.Err() != nil {
				if asked == 0 {
					s.Error("nobody was ever asked")
				}
				return
			}
			if said != nil {
				s.Errorf("%s: one must list %s", strings.Join(said, ", "), line)
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// inStep waits until all trackers pull from each other.
func (s *swarm) inStep() {
	s.Helper()
	for _, tr := range s.trackers {
		tr.status(func(g status) bool {
			for _, x := range g.Trackers[:len(s.trackers)-1] { // the configured ones come first
				if !x.Connected || !x.Following {
					return false
				}
			}
			return true
		})
	}
}

func TestPairIsUpgradedAndDowngradedOneAtATimeWhileItServes(t *testing.T) {
	t.Parallel()
	heavy(t)
	later := newer(t, "mtor-later", saysMore, writesMore)
	s := newPair(t, "--lease", "24h", "--admin", "127.0.0.1:0")
	a, b := s.trackers[0], s.trackers[1]
	s.startAll()
	s.write("data", 1000, 1)
	c := s.client(10, "stays")
	c.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(c)...)
	stop := s.readers(id, whole(c)[0])
	l := newLedger()
	town := s.settle(l)
	replace := func(tr *tracker, exe string) {
		l.progress(s, 200)
		s.inStep()
		tr.end()
		l.progress(s, 100) // the other serves
		tr.exe = exe
		tr.start()
		s.inStep()
		l.progress(s, 200)
	}
	replace(a, later)
	replace(b, later)
	replace(a, "")
	// The one that knows less holds what the other says more, and gives it back.
	l.progress(s, 200)
	s.inStep()
	b.Kill()
	if err := os.Remove(s.path(b.name + ".db")); err != nil {
		t.Fatal(err)
	}
	l.progress(s, 100)
	b.start()
	s.inStep()
	replace(b, "")
	town.close()
	l.check(s)
	stop()
	a.end()
	b.end()
	rowsA, recordsA := a.fields()
	rowsB, recordsB := b.fields()
	if len(recordsA) == 0 || !maps.Equal(recordsA, recordsB) {
		t.Errorf("%d and %d entries of an unknown kind", len(recordsA), len(recordsB))
	}
	both := 0
	for dot, x := range rowsA {
		if y, ok := rowsB[dot]; ok && x == y {
			both++
		}
	}
	if both == 0 {
		t.Errorf("unknown fields of %d and %d rows, and none at both", len(rowsA), len(rowsB))
	}
	t.Logf("unknown fields of %d rows at one and %d at the other, %d entries of an unknown kind at both", len(rowsA), len(rowsB), len(recordsA))
}

func TestDowngradeBelowTheFilesVersionRefillsFromTheOther(t *testing.T) {
	t.Parallel()
	heavy(t)
	later := newer(t, "mtor-later", laterStore)
	s := newPair(t, "--lease", "24h", "--admin", "127.0.0.1:0")
	a, b := s.trackers[0], s.trackers[1]
	s.startAll()
	l := newLedger()
	town := s.settle(l)
	l.progress(s, 200)
	a.end()
	a.exe = later
	a.start() // brings its file up to date
	s.inStep()
	l.progress(s, 200)
	town.close()
	l.check(s)
	a.end()
	a.exe = ""
	b.end()
	file := s.path(a.name + ".db")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, errs, code := s.ends(s.spawn(a.name, a.args...))
	if said := strings.Join(errs, "\n"); code != 1 || !strings.Contains(said, "another version of mtor: format 3, this program writes 2") ||
		!strings.Contains(said, b.addr) {
		t.Errorf("alone it ends with code %d, %q", code, said)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the file has changed (%v)", err)
	}
	b.start()
	a.start()
	l.check(s)
	kept, err := filepath.Glob(file + ".other-version-*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("set aside: %q (%v)", kept, err)
	}
	if now, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(now, before) {
		t.Errorf("what was set aside has changed (%v)", err)
	}
}

func TestTrackersOfAnotherProtocolSaySoAndEachServesItsOwn(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newPair(t)
	a, b := s.trackers[0], s.trackers[1]
	b.exe = newer(t, "mtor-later", laterProtocol)
	s.startAll()
	s.write("data", 1000, 1)
	c := s.client(10, "sharer")
	c.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.lists([]*tracker{a}, id, whole(c))
	for tr, want := range map[*tracker][]string{
		a: {"session ended by the tracker", "it speaks protocol version 2, this side 1", "peer tracker cannot be reached", "no common protocol version"},
		b: {"session ended by the tracker", "it speaks protocol version 1, this side 2", "peer tracker cannot be reached", "no common protocol version"},
	} {
		tr.logs(want...)
	}
	b.Kill()
	b.exe = ""
	b.start()
	s.allList(id, whole(c)...)
}

// logs waits until a tracker's log holds all of these.
func (t *tracker) logs(want ...string) {
	t.s.Helper()
	t.s.logs(t.name+".log", want...)
}

// logs waits until the log in a file holds all of these.
func (s *swarm) logs(file string, want ...string) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(s.path(file))
		missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return bytes.Contains(text, []byte(w)) })
		if len(missing) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("%s lacks %q (%v)", file, missing, err)
		}
	}
}
