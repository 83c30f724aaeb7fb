package library

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func open(t *testing.T, dir string) *Library {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func reopen(t *testing.T, l *Library, dir string) *Library {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func entry(name string) *Entry {
	return &Entry{
		Mtorrent: "/srv/" + name + torrentfmt.Ext,
		Path:     "/data/" + name,
		ID:       torrentfmt.HashID([]byte(name)),
		Size:     4096,
		ModTime:  1_700_000_000_123_456_789,
	}
}

func add(t *testing.T, l *Library, e *Entry) *Entry {
	t.Helper()
	if err := l.Add(e); err != nil {
		t.Fatal(err)
	}
	return e
}

func wantAll(t *testing.T, l *Library, want ...*Entry) {
	t.Helper()
	all, err := l.All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(want) {
		t.Fatalf("%d entries, want %d", len(all), len(want))
	}
	for i, e := range want {
		wantSame(t, &all[i], e)
	}
}

func wantSame(t testing.TB, got, want *Entry) {
	t.Helper()
	a, b := *got, *want
	if (a.Have == nil) != (b.Have == nil) || a.Have != nil && !a.Have.Equal(b.Have) {
		t.Fatalf("pieces are %v, want %v", a.Have, b.Have)
	}
	a.Have, b.Have = nil, nil
	if diff := cmp.Diff(b, a); diff != "" {
		t.Fatalf("entry differs (-want +got):\n%s", diff)
	}
}

func TestEverythingSurvivesAReopenInTheOrderOfAdding(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	l := open(t, dir)
	z, a, m := add(t, l, entry("z")), add(t, l, entry("a")), entry("m")
	m.Path, m.Name = "/data/not utf-8 \xff\xfe", "data.bin"
	m.Have = bitset.New(70).Set(0).Set(69)
	add(t, l, m)
	if z.Seq >= a.Seq || a.Seq >= m.Seq || z.Seq == 0 {
		t.Fatalf("Seq %d, %d, %d do not grow from 1", z.Seq, a.Seq, m.Seq)
	}
	if err := l.SetStamp(7); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, dir)
	if l.Stamp() != 7 {
		t.Fatalf("stamp %d after a reopen", l.Stamp())
	}
	wantAll(t, l, z, a, m)

	z.Whole, z.Size = true, 99
	changed := *z
	changed.Seq = 1000 // Update keeps the place in the order
	if err := l.Update(changed); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(a.Mtorrent); err != nil {
		t.Fatal(err)
	}
	b := add(t, l, entry("b"))
	if b.Seq <= m.Seq {
		t.Fatalf("Seq %d was given again", b.Seq)
	}
	l = reopen(t, l, dir)
	wantAll(t, l, z, m, b)
}

func TestStateFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	open(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got&^want != 0 {
			t.Errorf("%s has mode %v", path, got)
		}
	}
}

func TestKnownAndUnknownTorrentsAreTyped(t *testing.T) {
	l := open(t, t.TempDir())
	e := add(t, l, entry("a"))
	again := entry("a")
	if err := l.Add(again); !errors.Is(err, ErrKnown) || again.Seq != 0 {
		t.Fatalf("second Add: %v, Seq %d", err, again.Seq)
	}
	if err := l.Update(*entry("b")); !errors.Is(err, ErrUnknown) {
		t.Fatalf("Update: %v", err)
	}
	if err := l.Delete("/srv/b"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("Delete: %v", err)
	}
	for _, bad := range []Entry{{Mtorrent: "rel", Path: "/x"}, {Mtorrent: "/m", Path: "rel"}, {Mtorrent: "/m"}, {Mtorrent: "/" + strings.Repeat("m", maxPath), Path: "/x"}} {
		if err := l.Add(&bad); err == nil {
			t.Errorf("Add of %.20q, %.20q was accepted", bad.Mtorrent, bad.Path)
		}
	}
	wantAll(t, l, e)
}

func TestAWholeTorrentKeepsNoPieces(t *testing.T) {
	l := open(t, t.TempDir())
	e := entry("a")
	e.Whole, e.Have = true, bitset.New(8).Set(1)
	add(t, l, e)
	e.Have = nil
	wantAll(t, l, e)
}

func TestStampNeverGoesBack(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := l.SetStamp(uint64(i + 1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.SetStamp(3); err != nil {
		t.Fatal(err)
	}
	if l = reopen(t, l, dir); l.Stamp() != 20 {
		t.Fatalf("stamp %d, want 20", l.Stamp())
	}
}

func TestSecondClientOnTheSameFolderIsRefusedAndNamed(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	_, err := Open(dir)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second Open: %v", err)
	}
	add(t, l, entry("a")) // the first is unharmed
	reopen(t, l, dir)
}

// wantRefused opens a library whose file holds data and looks that the file is
// untouched afterwards.
func wantRefused(t *testing.T, data []byte, want error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(dir)
	if err == nil {
		_ = l.Close()
		t.Fatal("opened")
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, after) {
		t.Fatal("the refused file was changed")
	}
}

// sample is the file of a library with some entries.
func sample(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir)
	for i := range 100 {
		e := entry(fmt.Sprintf("file-%03d", i))
		e.Have = bitset.New(2000).Set(uint(i))
		add(t, l, e)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDamagedFilesAreRefusedAndLeftAlone(t *testing.T) {
	good := sample(t)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0x40
		return b
	}
	overwrite := func(from, to int) []byte {
		b := bytes.Clone(good)
		for i := from; i < to; i++ {
			b[i] = 0xff
		}
		return b
	}
	page := os.Getpagesize()
	value := bytes.LastIndex(good, []byte("/data/file-050"))
	for name, data := range map[string][]byte{
		"text":                  []byte("this is no library\n"),
		"text of a page":        bytes.Repeat([]byte("no library "), page),
		"zeros":                 make([]byte, 8*page),
		"cut to a byte":         good[:1],
		"cut to one page":       good[:page],
		"cut to two pages":      good[:2*page],
		"cut in the middle":     good[:len(good)/2],
		"both metas broken":     overwrite(0, 2*page),
		"a value's bit flipped": flip(value),
		"all pages broken":      overwrite(2*page, len(good)),
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, data, ErrDamaged) })
	}
}

// One broken page, whichever it is, must neither kill the process nor yield
// entries that are not the ones that were added.
func TestNoBrokenPageKillsTheProcess(t *testing.T) {
	good, page := sample(t), os.Getpagesize()
	for p := range len(good) / page {
		dir := t.TempDir()
		b := bytes.Clone(good)
		for i := range page {
			b[p*page+i] = byte(0x5a + i*7)
		}
		if err := os.WriteFile(filepath.Join(dir, FileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("page %d: %v", p, err)
			}
			continue
		}
		all, err := l.All()
		if err != nil || len(all) > 100 {
			t.Errorf("page %d: %d entries, %v", p, len(all), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if err := l.db.Update(func(tx *bolt.Tx) error { return putNumber(tx.Bucket(metaBucket), formatKey, Format+1) }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, data, ErrNewer)
}

// The entries of formats 1 and 2 are those of format 3 that say nothing new.
func TestOlderFormatIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	e := add(t, l, entry("a"))
	if err := l.db.Update(func(tx *bolt.Tx) error { return putNumber(tx.Bucket(metaBucket), formatKey, 1) }); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, dir)
	wantAll(t, l, e)
	err := l.db.View(func(tx *bolt.Tx) error {
		format, err := number(tx.Bucket(metaBucket), formatKey)
		if format != Format {
			t.Errorf("it is still of format %d, which an older mtor would open", format)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSeedingThatMakesNoSenseIsRefused(t *testing.T) {
	l := open(t, t.TempDir())
	for name, harm := range map[string]func(*Entry){
		"ratio below zero": func(e *Entry) { e.SeedRatio = -1 },
		"no number":        func(e *Entry) { e.SeedRatio = math.NaN() },
		"time below zero":  func(e *Entry) { e.SeedTime = -1 },
		"sent below zero":  func(e *Entry) { e.Sent = -1 },
	} {
		e := entry(name)
		harm(e)
		if err := l.Add(e); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSomebodyElsesDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("recipes")); return err }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, data, ErrDamaged)
}

// A start that was stopped between making the file and filling it is made good.
func TestEmptyFileAndEmptyDatabaseAreFilled(t *testing.T) {
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, FileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	blank := t.TempDir()
	db, err := bolt.Open(filepath.Join(blank, FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{empty, blank} {
		if l := open(t, dir); l.Stamp() != 0 {
			t.Fatal("a stamp in a new library")
		}
	}
}

func TestStateFolderThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "state")); err == nil {
		t.Fatal("opened below a file")
	}
}

func TestClosedLibraryAnswersWithErrors(t *testing.T) {
	l := open(t, t.TempDir())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(entry("a")); err == nil {
		t.Error("Add succeeded")
	}
	if _, err := l.All(); err == nil {
		t.Error("All succeeded")
	}
}

func TestNameThatNoFileCouldHaveIsRefused(t *testing.T) {
	l := open(t, t.TempDir())
	e := entry("a")
	e.Name = "a/b"
	if err := l.Add(e); err == nil {
		t.Error("taken")
	}
	if got, err := decodeBody(encodeBody(e)); err == nil {
		t.Errorf("read as %+v", got)
	}
}

func TestEncodedEntriesComeBackTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := &Entry{
			Mtorrent: rapid.String().Draw(rt, "mtorrent"),
			Path:     string(rapid.SliceOf(rapid.Byte()).Draw(rt, "path")),
			ID:       torrentfmt.HashID(rapid.SliceOf(rapid.Byte()).Draw(rt, "id")),
			Seq:      rapid.Uint64().Draw(rt, "seq"),
			Whole:    rapid.Bool().Draw(rt, "whole"),
			Size:     rapid.Int64().Draw(rt, "size"),
			ModTime:  rapid.Int64().Draw(rt, "modtime"),
			Paused:   rapid.Bool().Draw(rt, "paused"),
		}
		if rapid.Bool().Draw(rt, "seeds") {
			e.SeedRatio = rapid.Float64Min(0).Draw(rt, "ratio")
			e.SeedTime = time.Duration(rapid.Int64Min(0).Draw(rt, "seed time"))
			e.Sent = rapid.Int64Min(0).Draw(rt, "sent")
			e.Seeded = time.Duration(rapid.Int64Min(0).Draw(rt, "seeded"))
		}
		if rapid.Bool().Draw(rt, "named") {
			e.Name = rapid.StringMatching("[a-zé ]{1,50}").Filter(func(s string) bool { return torrentfmt.CheckName(s) == nil }).Draw(rt, "name")
		}
		if !e.Whole && rapid.Bool().Draw(rt, "pieces known") {
			e.Have = bitset.New(uint(rapid.IntRange(0, 200).Draw(rt, "pieces")))
			for i := range e.Have.Len() {
				e.Have.SetTo(i, rapid.Bool().Draw(rt, "has"))
			}
		}
		v := encodeEntry(e)
		got, err := decodeEntry([]byte(e.Mtorrent), v)
		if err != nil {
			rt.Fatal(err)
		}
		wantSame(t, got, e)
		v[rapid.IntRange(0, len(v)-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if _, err := decodeEntry([]byte(e.Mtorrent), v); !errors.Is(err, ErrDamaged) {
			rt.Fatalf("a flipped bit went unnoticed: %v", err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	e := entry("seed")
	f.Add(encodeBody(e))
	e.Have = bitset.New(13).Set(3).Set(12)
	f.Add(encodeBody(e))
	e.Whole = true
	f.Add(encodeBody(e))
	e.Paused, e.SeedRatio, e.SeedTime, e.Sent, e.Seeded = true, 1.5, time.Hour, 1<<40, time.Minute
	f.Add(encodeBody(e))
	e.Name = "data.bin"
	f.Add(encodeBody(e))
	f.Add([]byte{flagHave})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := decodeBody(body)
		if err != nil {
			return
		}
		again, err := decodeBody(encodeBody(e))
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, again, e)
	})
}

func TestLearnedTrackersOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if got := l.Learned("a:1 b:1"); len(got) != 0 {
		t.Fatalf("a new library has learned %q", got)
	}
	if err := l.SetLearned("a:1 b:1", []string{"c:1", "tcp://d:1"}); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, dir)
	if diff := cmp.Diff([]string{"c:1", "tcp://d:1"}, l.Learned("a:1 b:1")); diff != "" {
		t.Error(diff)
	}
	if got := l.Learned("a:1"); len(got) != 0 {
		t.Errorf("another set has learned %q", got)
	}
}
