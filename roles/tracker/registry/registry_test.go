package registry

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// childFile, if set in the environment, makes the test binary a process that
// announces until it is killed.
const childFile = "MTOR_TEST_ANNOUNCE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		announceForEver(path)
	}
	// Enough to find what has been found so far, quick enough to run always.
	// Flags of the command line come later and win.
	for name, value := range map[string]string{"rapid.checks": "500", "rapid.steps": "50", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string) *Registry {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func addr(n int) Addr {
	var a Addr
	a[10], a[11] = 0xff, 0xff
	binary.BigEndian.PutUint32(a[12:], uint32(10<<24+n>>15))
	binary.BigEndian.PutUint16(a[16:], uint16(n&0x7fff)+1)
	return a
}

func hashesOf(n int) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint32(make([]byte, 0, 20), uint32(n)), 5)
}

// call waits for the answer to a request.
func call(t testing.TB, f func(func(Result, error))) Result {
	t.Helper()
	type answer struct {
		res Result
		err error
	}
	c := make(chan answer, 1)
	f(func(res Result, err error) { c <- answer{res, err} })
	a := <-c
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.res
}

func announcement(torrent, client int) Announcement {
	h := hashesOf(torrent)
	return Announcement{
		Torrent: torrentfmt.HashID(h), Asker: Asker{Addr: addr(client)}, Whole: true,
		Info: &Info{Name: fmt.Sprint("torrent ", torrent), Size: 1}, Hashes: h,
	}
}

func announce(t testing.TB, r *Registry, torrent, client int) Result {
	t.Helper()
	return call(t, func(done func(Result, error)) { r.Announce(announcement(torrent, client), done) })
}

func seeders(r *Registry, torrent int) []string {
	list, _ := r.Seeders(nil, torrentfmt.HashID(hashesOf(torrent)), Addr{}, 1<<20)
	var out []string
	for _, s := range list {
		out = append(out, s.Addr.String())
	}
	slices.Sort(out)
	return out
}

func TestWhatWasAnsweredSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	r := open(t, path)
	node := r.NodeID()
	for c := range 100 {
		announce(t, r, c%3, c)
	}
	call(t, func(done func(Result, error)) {
		r.Remove(Asker{Addr: addr(0)}, torrentfmt.HashID(hashesOf(0)), 0, done)
	})
	call(t, func(done func(Result, error)) { r.Leave(Asker{Addr: addr(1)}, 0, done) })
	var want [3][]string
	for i := range want {
		want[i] = seeders(r, i)
	}
	stats, vector := r.Stats(), r.Vector()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, path)
	if r.NodeID() != node {
		t.Errorf("node ID %v became %v", node, r.NodeID())
	}
	for i := range want {
		if got := seeders(r, i); !slices.Equal(got, want[i]) || len(got) == 0 {
			t.Errorf("torrent %d: %v, before %v", i, got, want[i])
		}
	}
	if got := r.Stats(); got != stats {
		t.Errorf("stats %+v, before %+v", got, stats)
	}
	if got := r.Vector(); !got.CoversAll(vector) || !vector.CoversAll(got) {
		t.Errorf("vector %v, before %v", got, vector)
	}
	var hashes []byte
	err := r.Hashes(torrentfmt.HashID(hashesOf(1)), torrentfmt.HashSize, func(b []byte) error {
		hashes = append(hashes, b...)
		return nil
	})
	if err != nil || !bytes.Equal(hashes, hashesOf(1)) {
		t.Errorf("hash string %x (%v)", hashes, err)
	}
}

func TestLongHashStringIsKeptInParts(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "list"))
	h := make([]byte, 20*(3*chunkSize/20+7))
	for i := range h {
		h[i] = byte(rand.IntN(256))
	}
	size := int64(len(h)/20) * torrentfmt.PieceSize
	a := Announcement{Torrent: torrentfmt.HashID(h), Asker: Asker{Addr: addr(1)}, Info: &Info{Name: "long", Size: size}, Hashes: h}
	call(t, func(done func(Result, error)) { r.Announce(a, done) })
	var got []byte
	if err := r.Hashes(a.Torrent, len(h), func(b []byte) error { got = append(got, b...); return nil }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, h) {
		t.Error("the hash string came back changed")
	}
}

func TestChangesAfterCloseAreRefused(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "list"))
	_ = r.Close()
	var got error
	r.Leave(Asker{Addr: addr(1)}, 0, func(_ Result, err error) { got = err })
	if !errors.Is(got, ErrClosed) {
		t.Errorf("got %v", got)
	}
}

// entries counts what the file holds.
func (s *store) entries(t *testing.T) int {
	n := 0
	err := s.db.View(func(tx *bolt.Tx) error {
		n = tx.Bucket(bucketEntries).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSupersededEntriesAreSweptButNotUnderAScan(t *testing.T) {
	synctest.Test(t, supersededEntriesAreSwept)
}

func supersededEntriesAreSwept(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "list"))
	scan := r.Scan(nil)
	const clients, times = 10, 400
	flip := func() {
		for i := range times {
			for c := range clients {
				a := announcement(1, c)
				a.Whole = i%2 == 0
				r.Announce(a, func(Result, error) {})
			}
		}
		announce(t, r, 1, clients)
	}
	flip()
	// The same batch may supersede an entry before it is stored, so not all
	// are there; but none of those stored is gone.
	before := r.store.entries(t)
	announce(t, r, 2, 1)
	if got := r.store.entries(t); got < before {
		t.Errorf("%d entries under a scan, then %d", before, got)
	}
	scan.Close()
	scan.Close() // once more, by a deferred call for instance
	flip()
	time.Sleep(time.Minute) //nolint:forbidigo // virtual time, of quiet
	if got, want := r.store.entries(t), 2+11+12; got != want {
		t.Errorf("%d entries are left, want 2 torrents, 11 homes, 12 rows", got)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	open(t, path)
	if _, err := Open(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestForeignAndDamagedFilesAreRefusedUnchanged(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	r := open(t, good)
	for c := range 5000 {
		r.Announce(announcement(c%10, c), func(Result, error) {})
	}
	announce(t, r, 1, 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "foreign")
	db, err := bolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("another program"))
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(pick func(i int) bool) []byte {
		b := bytes.Clone(whole)
		for i := range b {
			if pick(i) {
				b[i] ^= 0x40
			}
		}
		return b
	}
	page := os.Getpagesize()
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"text":               {[]byte(strings.Repeat("not a seederlist\n", 1000)), ErrForeign},
		"another program":    {other, ErrForeign},
		"cut short":          {whole[:len(whole)/2], ErrDamaged},
		"two pages":          {whole[:2*page], ErrDamaged},
		"one byte":           {whole[:1], ErrForeign},
		"broken metadata":    {flip(func(i int) bool { return i%page == 16+40 && i < 2*page }), ErrDamaged},
		"a flipped filename": {bytes.ReplaceAll(whole, []byte("torrent 7"), []byte("torrent 8")), ErrDamaged},
		"zeros inside":       {flip2(whole, page), ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "list")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(path)
			if err == nil {
				_ = r.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if now, _ := os.ReadFile(path); !bytes.Equal(now, c.data) {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("another version", func(t *testing.T) {
		db, err := bolt.Open(good, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(keyVersion, []byte{0, 0, 0, 9})
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(good); !errors.Is(err, ErrVersion) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a folder", func(t *testing.T) {
		if _, err := Open(t.TempDir()); !errors.Is(err, ErrForeign) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an empty file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, path)
	})
}

// flip2 clears every page behind the metadata.
func flip2(b []byte, page int) []byte {
	b = bytes.Clone(b)
	clear(b[2*page:])
	return b
}

// announceForEver announces rows and prints the number of each that was
// answered, until the process is killed.
func announceForEver(path string) {
	r, err := Open(path)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	first := r.Stats().Listed
	out := bufio.NewWriter(os.Stdout)
	for c := first; ; c++ {
		last := c%50 == 49
		r.Announce(announcement(c%5, c), func(_ Result, err error) {
			if err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
			fmt.Fprintln(out, c)
			if last {
				_ = out.Flush()
			}
		})
	}
}

// TestAnsweredRowsSurviveKill kills a process in the midst of announcing, again
// and again: every row that it was told to be durable is there afterwards.
func TestAnsweredRowsSurviveKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	known := 0
	for range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childFile+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Die after some number of answers, at whatever the process is doing.
		stop := known + 1 + rand.IntN(1500)
		lines := bufio.NewScanner(out)
		last := -1
		for lines.Scan() {
			var c int
			if _, err := fmt.Sscan(lines.Text(), &c); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			if last = c; c >= stop {
				_ = child.Process.Kill() // SIGKILL; later lines are still in the pipe
			}
		}
		_ = child.Wait() // killed
		if last < stop {
			t.Fatalf("the child ended by itself after %d", last)
		}
		r := open(t, path)
		listed := 0
		for i := range 5 {
			listed += len(seeders(r, i))
		}
		if listed < last+1 {
			t.Fatalf("%d rows were answered, %d are listed", last+1, listed)
		}
		known = listed
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestScanCarriesOverWhatAVectorLacks pulls one registry into another by
// hand, in small steps.
func TestScanCarriesOverWhatAVectorLacks(t *testing.T) {
	a, b := open(t, filepath.Join(t.TempDir(), "a")), open(t, filepath.Join(t.TempDir(), "b"))
	pull := func() int {
		had := b.Vector()
		scan := a.Scan(had)
		defer scan.Close()
		n := 0
		for {
			entries, err := scan.Next(7)
			if err != nil {
				t.Fatal(err)
			}
			var spans []Span
			if len(entries) == 0 {
				spans = had.SpansTo(scan.Vector())
			}
			merged := make(chan error, 1)
			b.Merge(entries, spans, func(err error) { merged <- err })
			if err := <-merged; err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				return n
			}
			n += len(entries)
		}
	}
	for c := range 50 {
		announce(t, a, c%4, c)
	}
	if n := pull(); n != 50+50+4 {
		t.Errorf("pulled %d entries", n)
	}
	announce(t, a, 1, 99)
	if n := pull(); n != 2 {
		t.Errorf("pulled %d entries for one new row and home", n)
	}
	if n := pull(); n != 0 {
		t.Errorf("pulled %d entries for nothing", n)
	}
	for i := range 4 {
		if got, want := seeders(b, i), seeders(a, i); !slices.Equal(got, want) {
			t.Errorf("torrent %d: %v, want %v", i, got, want)
		}
	}
}

func TestSpanWithAGapIsRefused(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "list"))
	var o Origin
	o[0] = 1
	got := make(chan error, 1)
	r.Merge(nil, []Span{{Origin: o, From: 5, To: 9}}, func(err error) { got <- err })
	if err := <-got; !errors.Is(err, errGap) || r.Vector()[o] != 0 {
		t.Errorf("got %v, vector %v", err, r.Vector())
	}
}
