package tracker

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// damages are what may have become of a seederlist file, and the word that its
// new name says.
var damages = map[string]struct {
	word string
	do   func(t *testing.T, path string)
}{
	"truncated": {"damaged", func(t *testing.T, path string) {
		fi, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, fi.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}},
	"bits flipped": {"damaged", func(t *testing.T, path string) {
		b := read(t, path)
		i := bytes.Index(b, []byte("a name that is found in the file"))
		if i < 0 {
			t.Fatal("the file holds no name")
		}
		b[i] ^= 0x20
		write(t, path, b)
	}},
	"another program's": {"foreign", func(t *testing.T, path string) {
		write(t, path, bytes.Repeat([]byte("SQLite format 3\x00"), 1000))
	}},
	"another program's bbolt file": {"foreign", func(t *testing.T, path string) {
		dir := t.TempDir()
		l, err := library.Open(dir)
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, read(t, filepath.Join(dir, library.FileName)))
	}},
	"of another version": {"other-version", func(t *testing.T, path string) {
		b := read(t, path)
		key := []byte("version") // its value stands behind it, in every copy of the page
		if !bytes.Contains(b, key) {
			t.Fatal("the file holds no version")
		}
		for at := 0; ; {
			i := bytes.Index(b[at:], key)
			if i < 0 {
				break
			}
			at += i + len(key)
			copy(b[at:], []byte{0, 0, 1, 0})
		}
		write(t, path, b)
	}},
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// aside is the one file that was set aside under a name with word in it.
func aside(t *testing.T, path, word string) string {
	t.Helper()
	found, err := filepath.Glob(path + "." + word + "-*")
	if err != nil || len(found) != 1 {
		t.Fatalf("set aside: %q (%v)", found, err)
	}
	return found[0]
}

func TestUnusableFileIsSetAsideAndRefilledFromTheOther(t *testing.T) {
	for name, d := range damages {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.pair()
				f := fileOf("a name that is found in the file", 1)
				w.call(addrA, "10.1.0.1:1").share(f)
				w.settle()
				w.kill(addrA)
				d.do(t, w.file(addrA))
				before := read(t, w.file(addrA))

				var log bytes.Buffer
				w.change = func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }
				w.start(addrA, addrB)
				w.settle()
				w.expect(addrA, f, "10.1.0.1:1+")
				kept := aside(t, w.file(addrA), d.word)
				if !bytes.Equal(read(t, kept), before) {
					t.Error("what was set aside is not what was there")
				}
				w.kill(addrA) // and its log is complete
				if !strings.Contains(log.String(), kept) || !strings.Contains(log.String(), "refilling") {
					t.Errorf("the log does not tell of it:\n%s", &log)
				}
			})
		})
	}
}

func TestUnusableFileStaysWhereItIsWhileNobodyElseAnswers(t *testing.T) {
	for name, d := range damages {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.pair()
				f := fileOf("a name that is found in the file", 1)
				w.call(addrA, "10.1.0.1:1").share(f)
				w.settle()
				w.kill(addrA)
				w.kill(addrB)
				d.do(t, w.file(addrA))
				before := read(t, w.file(addrA))
				if err := w.try(addrA, addrB); !errors.Is(err, ErrDataLoss) || !strings.Contains(err.Error(), addrB) {
					t.Fatalf("started: %v", err)
				}
				if !bytes.Equal(read(t, w.file(addrA)), before) {
					t.Error("the file has changed")
				}
				w.change = func(o *Options) { o.AcceptDataLoss = true }
				w.start(addrA, addrB)
				w.expect(addrA, f)
				if !bytes.Equal(read(t, aside(t, w.file(addrA), d.word)), before) {
					t.Error("what was set aside is not what was there")
				}
				// What the other still has comes back all the same.
				w.start(addrB, addrA)
				w.settle()
				w.expect(addrA, f, "10.1.0.1:1+")
			})
		})
	}
}

func TestSecondTrackerOnOneFileIsRefusedAndToldWhoHasIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		w.change = func(o *Options) { o.SeederlistFile = w.file(addrA) }
		err := w.try(addrB)
		if !errors.Is(err, registry.ErrInUse) || !strings.Contains(err.Error(), "tracker "+addrA) {
			t.Fatalf("opened twice, or without a name: %v", err)
		}
		w.kill(addrA)
		if who := Holder(w.file(addrA)); who != "" {
			t.Errorf("the holder after the end is %q", who)
		}
		w.start(addrB)
	})
}
