package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// sound is a file of several buckets, one within another, one within its
// page, and one of several levels, with a value that spans pages.
func sound(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "sound")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 4096, NoFreelistSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		many, err := tx.CreateBucket([]byte("many"))
		if err != nil {
			return err
		}
		for i := range 600 {
			if err := many.Put(fmt.Appendf(nil, "key %03d", i), bytes.Repeat([]byte{byte(i)}, 30)); err != nil {
				return err
			}
		}
		few, err := tx.CreateBucket([]byte("few"))
		if err != nil {
			return err
		}
		if err := few.Put([]byte("large"), make([]byte, 10_000)); err != nil {
			return err
		}
		_, err = few.CreateBucket([]byte("within"))
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func write(tb testing.TB, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// check is all that a file must pass.
func check(path string) error {
	if _, err := Check(path); err != nil {
		return err
	}
	return CheckPages(path)
}

// readAll has bbolt read the whole file.
func readAll(path string) error {
	return Guard(func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			return err
		}
		var walk func(*bolt.Bucket) error
		walk = func(b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if v == nil {
					return walk(b.Bucket(k))
				}
				return nil
			})
		}
		return errors.Join(db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b) })
		}), db.Close())
	})
}

func TestSoundFilePasses(t *testing.T) {
	path := write(t, sound(t))
	if empty, err := Check(path); empty || err != nil {
		t.Errorf("empty %v: %v", empty, err)
	}
	if err := CheckPages(path); err != nil {
		t.Error(err)
	}
	if err := readAll(path); err != nil {
		t.Error(err)
	}
}

func TestNoFileAndNothingInItAreEmpty(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), write(t, nil)} {
		if empty, err := Check(path); !empty || err != nil {
			t.Errorf("empty %v: %v", empty, err)
		}
	}
}

func TestWhatIsNotBboltsIsForeign(t *testing.T) {
	for name, path := range map[string]string{
		"text":     write(t, bytes.Repeat([]byte("a line\n"), 5000)),
		"one byte": write(t, []byte{1}),
		"folder":   t.TempDir(),
	} {
		if _, err := Check(path); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Touching a mapped page behind the end of the file would kill this process.
func TestFileThatIsCutShortIsDamaged(t *testing.T) {
	data := sound(t)
	for size := 2 * 4096; size < len(data); size += 1000 {
		_, err := Check(write(t, data[:size]))
		if d := (*Damage)(nil); !errors.As(err, &d) && !fits(data, size) {
			t.Errorf("%d bytes of %d: %v", size, len(data), err)
		}
	}
	one := bytes.Clone(data)
	one[4096+headerSize+txAt] ^= 1 // the older copy counts, or the newer
	if _, err := Check(write(t, one)); err != nil {
		t.Errorf("one broken copy: %v", err)
	}
	one[headerSize+txAt] ^= 1
	_, err := Check(write(t, one))
	if d := (*Damage)(nil); !errors.As(err, &d) {
		t.Errorf("two broken copies: %v", err)
	}
}

// fits reports whether size bytes hold all pages that are in use: bbolt makes a
// file longer than it needs.
func fits(data []byte, size int) bool {
	m, err := newest(bytes.NewReader(data))
	return err == nil && int64(size) >= int64(m.pages)*m.pageSize
}

func TestWhatPassesIsReadWhole(t *testing.T) {
	data := sound(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 500 {
		flipped := bytes.Clone(data)
		for range 1 + rnd.IntN(30) {
			flipped[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
		}
		path := write(t, flipped)
		if check(path) != nil {
			refused++
		} else if err := readAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}

func TestGuardCatchesAPanic(t *testing.T) {
	err := Guard(func() error { panic("page 7: bad") })
	if d := (*Damage)(nil); !errors.As(err, &d) || d.What != "page 7: bad" {
		t.Errorf("%v", err)
	}
	if err := Guard(func() error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// FuzzCheck patches a sound file, at two places and in its metadata's
// checksum: what passes the checks, bbolt reads whole.
func FuzzCheck(f *testing.F) {
	data := sound(f)
	f.Add(uint32(8192), []byte{1, 0, 255}, uint32(0), []byte{})
	f.Add(uint32(4096*3+10), []byte{0xff, 0xff}, uint32(4096*4+16), []byte{0, 0, 0, 0x80})
	f.Add(uint32(headerSize+pagesAt), []byte{0xff}, uint32(4096+headerSize+txAt), []byte{0xff})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, at2 uint32, patch2 []byte) {
		patched := bytes.Clone(data)
		copy(patched[int(at)%len(data):], patch)
		copy(patched[int(at2)%len(data):], patch2)
		path := write(t, patched)
		if check(path) != nil {
			return
		}
		if err := readAll(path); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzParseMeta reads any page as metadata.
func FuzzParseMeta(f *testing.F) {
	data := sound(f)
	for i := range 2 {
		page := data[i*4096:][:headerSize+metaSize]
		if m, bbolt, ok := parseMeta(page); !bbolt || !ok || m.pageSize != 4096 {
			f.Fatalf("copy %d of bbolt's own reads as %+v", i, m)
		}
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		if m, bbolt, ok := parseMeta(page); ok && (!bbolt || m.pageSize < minPage || m.pageSize > maxPage || m.pages > maxPages) {
			t.Fatalf("%+v", m)
		}
	})
}
