package torrentfmt

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

var testTrackers = [2]string{"127.0.0.1:7001", "127.0.0.1:7002"}

// testData is n bytes that differ from piece to piece.
func testData(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return data
}

func testFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// plainHashes is the hash string by its definition, for want values.
func plainHashes(data []byte) []byte {
	hashes := []byte{}
	for len(data) > 0 {
		n := min(len(data), PieceSize)
		sum := sha1.Sum(data[:n])
		hashes, data = append(hashes, sum[:]...), data[n:]
	}
	return hashes
}

func TestCreateThenVerifyIsWhole(t *testing.T) {
	for _, size := range []int{0, 1, PieceSize - 1, PieceSize, PieceSize + 1, 2 * PieceSize, 9*PieceSize + 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := testData(size)
			path := testFile(t, "disk image.raw", data)
			var told []int64
			progress := func(done, total int64) {
				if total != int64(size) {
					t.Errorf("total %d, want %d", total, size)
				}
				told = append(told, done)
			}
			got, err := Create(t.Context(), path, testTrackers, progress)
			if err != nil {
				t.Fatal(err)
			}
			want := &Torrent{Trackers: testTrackers, Name: "disk image.raw", Size: int64(size), Hashes: plainHashes(data)}
			if !got.Equal(want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if len(told) != got.NumPieces() {
				t.Errorf("%d progress calls for %d pieces", len(told), got.NumPieces())
			}
			for i, done := range told {
				if i > 0 && done <= told[i-1] || i == len(told)-1 && done != int64(size) {
					t.Errorf("progress told %v", told)
				}
			}
			have, err := Verify(t.Context(), got, bytes.NewReader(data), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !have.All() || have.Len() != uint(got.NumPieces()) {
				t.Errorf("verified %v of %d pieces", have, got.NumPieces())
			}
			again, err := Parse(got.Encode())
			if err != nil || !again.Equal(got) {
				t.Errorf("read back %+v, %v", again, err)
			}
		})
	}
}

func TestVerifyMarksExactlyTheSpoiltPieces(t *testing.T) {
	data := testData(5*PieceSize + 100)
	want := &Torrent{Trackers: testTrackers, Name: "n", Size: int64(len(data)), Hashes: plainHashes(data)}
	rapid.Check(t, func(rt *rapid.T) {
		spoilt := bytes.Clone(data)
		bad := map[int]bool{}
		for _, at := range rapid.SliceOfN(rapid.IntRange(0, len(data)-1), 0, 4).Draw(rt, "spoilt bytes") {
			spoilt[at] = data[at] + 1
			bad[at/PieceSize] = true
		}
		end := rapid.IntRange(0, len(data)).Draw(rt, "end")
		have, err := Verify(t.Context(), want, bytes.NewReader(spoilt[:end]), nil)
		if err != nil {
			rt.Fatal(err)
		}
		for i := range want.NumPieces() {
			there := i*PieceSize+want.PieceLen(i) <= end
			if good := there && !bad[i]; have.Test(uint(i)) != good {
				rt.Fatalf("piece %d: got %v, want %v", i, have.Test(uint(i)), good)
			}
		}
	})
}

func TestVerifyDoesNotLookPastTheEnd(t *testing.T) {
	data := testData(PieceSize + 1)
	want := &Torrent{Name: "n", Size: int64(len(data)), Hashes: plainHashes(data)}
	have, err := Verify(t.Context(), want, bytes.NewReader(append(data, "more"...)), nil)
	if err != nil || !have.All() {
		t.Errorf("got %v, %v", have, err)
	}
}

func TestVerifyRefusesATorrentThatDoesNotAddUp(t *testing.T) {
	for _, bad := range []*Torrent{
		{Size: -1},
		{Size: 1},
		{Size: 0, Hashes: make([]byte, HashSize)},
		{Size: PieceSize + 1, Hashes: make([]byte, HashSize)},
		{Size: MaxSize},
	} {
		var fieldErr *FieldError
		if _, err := Verify(t.Context(), bad, bytes.NewReader(nil), nil); !errors.As(err, &fieldErr) {
			t.Errorf("size %d with %d hash bytes: %v", bad.Size, len(bad.Hashes), err)
		}
	}
}

// readerAt calls a function for each read.
type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestVerifyReturnsAReadError(t *testing.T) {
	broken := errors.New("broken disk")
	data := testData(4 * PieceSize)
	want := &Torrent{Name: "n", Size: int64(len(data)), Hashes: plainHashes(data)}
	r := readerAt(func(p []byte, off int64) (int, error) {
		if off == 2*PieceSize {
			return 0, broken
		}
		return copy(p, data[off:]), nil
	})
	if have, err := Verify(t.Context(), want, r, nil); !errors.Is(err, broken) || have != nil {
		t.Errorf("got %v, %v", have, err)
	}
}

func TestVerifyTakesEOFWithTheLastPiece(t *testing.T) {
	data := testData(PieceSize + 5)
	want := &Torrent{Name: "n", Size: int64(len(data)), Hashes: plainHashes(data)}
	r := readerAt(func(p []byte, off int64) (int, error) { return copy(p, data[off:]), io.EOF })
	if have, err := Verify(t.Context(), want, r, nil); err != nil || !have.All() {
		t.Errorf("got %v, %v", have, err)
	}
}

func TestHashingStopsWithTheContext(t *testing.T) {
	data := testData(64 * PieceSize)
	path := testFile(t, "n", data)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	_, err := Create(ctx, path, testTrackers, func(int64, int64) { calls++; cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if limit := 2 * runtime.GOMAXPROCS(0); calls > limit {
		t.Errorf("%d pieces hashed after the first one cancelled, want at most %d", calls, limit)
	}
}

func TestCreateNoticesAChangingFile(t *testing.T) {
	changes := map[string]func(path string) error{
		"grown": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x")
			return errors.Join(err, f.Close())
		},
		"cut short": func(path string) error { return os.Truncate(path, 10) },
		"written in place": func(path string) error {
			// Set the time by hand: the write itself may fall into the same
			// tick of the file system's clock as the file's creation.
			return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour))
		},
		"replaced": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			other := path + ".new"
			if err := os.WriteFile(other, make([]byte, info.Size()), 0o600); err != nil {
				return err
			}
			if err := os.Chtimes(other, time.Time{}, info.ModTime()); err != nil {
				return err
			}
			return os.Rename(other, path)
		},
	}
	for what, change := range changes {
		t.Run(what, func(t *testing.T) {
			if runtime.GOOS == "windows" && what == "replaced" {
				t.Skip("an open file cannot be replaced here")
			}
			path := testFile(t, "n", testData(8*PieceSize))
			var changed bool
			_, err := Create(t.Context(), path, testTrackers, func(int64, int64) {
				if !changed {
					changed = true
					if err := change(path); err != nil {
						t.Error(err)
					}
				}
			})
			if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCreateRefusesAFileThatClaimsToBeEmpty(t *testing.T) {
	const path = "/proc/self/status"
	if _, err := os.Stat(path); err != nil {
		t.Skip("no /proc here")
	}
	if _, err := Create(t.Context(), path, testTrackers, nil); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
}

func TestCreateFollowsALinkAndKeepsItsName(t *testing.T) {
	data := []byte("hello")
	path := testFile(t, "target", data)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	got, err := Create(t.Context(), link, testTrackers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "link" || got.Size != 5 {
		t.Errorf("got %+v", got)
	}
}

func TestCreateRefusesBadFieldsBeforeItHashes(t *testing.T) {
	never := func(int64, int64) { t.Error("hashed") }
	path := testFile(t, "n", []byte("x"))
	var fieldErr *FieldError
	_, err := Create(t.Context(), path, [2]string{"a:1", "b:0"}, never)
	if !errors.As(err, &fieldErr) || fieldErr.Field != "tracker_url_2" {
		t.Errorf("bad tracker: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	path = testFile(t, "a\nb", []byte("x"))
	if _, err = Create(t.Context(), path, testTrackers, never); !errors.As(err, &fieldErr) || fieldErr.Field != "filename" {
		t.Errorf("bad name: %v", err)
	}
}

func TestCreateRefusesAFileWithTooManyPieces(t *testing.T) {
	path := testFile(t, "huge", nil)
	if err := os.Truncate(path, MaxPieces*PieceSize+1); err != nil {
		t.Skip("no sparse file of 2 TiB here:", err)
	}
	var fieldErr *FieldError
	if _, err := Create(t.Context(), path, testTrackers, nil); !errors.As(err, &fieldErr) || fieldErr.Field != "filesize" {
		t.Errorf("got %v", err)
	}
}

func TestPieceBuffersStartOnAPage(t *testing.T) {
	for range 50 {
		buf := pieceBuffer()
		if at := uintptr(unsafe.Pointer(&buf[0])); at%4096 != 0 {
			t.Fatalf("a buffer at %#x", at)
		}
	}
}

// BenchmarkCreate reports MB/s, and as x-sha1 the ratio to SHA-1 of the same
// bytes in memory on one core, measured in the same run.
func BenchmarkCreate(b *testing.B) {
	data := testData(256 << 20)
	path := testFile(b, "n", data)
	start := time.Now()
	plainHashes(data)
	plain := time.Since(start)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	start = time.Now()
	for b.Loop() {
		if _, err := Create(b.Context(), path, testTrackers, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(plain.Seconds()*float64(b.N)/time.Since(start).Seconds(), "x-sha1")
}
