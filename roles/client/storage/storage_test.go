package storage

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sizes are the lengths at which files and pieces could disagree.
var sizes = []int64{0, 1, torrentfmt.PieceSize - 1, torrentfmt.PieceSize, torrentfmt.PieceSize + 1, 3*torrentfmt.PieceSize + 7}

// content makes size bytes that are nowhere zero, and their torrent.
func content(size int64, seed byte) ([]byte, *torrentfmt.Torrent) {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	for i, b := range data {
		data[i] = max(b, 1)
	}
	t := &torrentfmt.Torrent{Trackers: [2]string{"127.0.0.1:1", "127.0.0.1:2"}, Name: "file", Size: size}
	for piece := range slices.Chunk(data, torrentfmt.PieceSize) {
		sum := sha1.Sum(piece)
		t.Hashes = append(t.Hashes, sum[:]...)
	}
	return data, t
}

func pieceOf(t *torrentfmt.Torrent, data []byte, i int) []byte {
	return data[i*torrentfmt.PieceSize:][:t.PieceLen(i)]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o644))
}

func wantContent(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("%s holds %d other bytes", path, len(got))
	}
}

func wantAbsent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is there (%v)", path, err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// wantOccupied wants the error to name what is in the way.
func wantOccupied(t *testing.T, err error, path string) {
	t.Helper()
	var occupied *OccupiedError
	if !errors.As(err, &occupied) || !errors.Is(err, ErrOccupied) {
		t.Fatalf("error is %v, want an *OccupiedError", err)
	}
	if occupied.Path != path || !strings.Contains(err.Error(), path) {
		t.Fatalf("error names %s, want %s: %v", occupied.Path, path, err)
	}
}

func closeAtEnd(t *testing.T, f *File) *File {
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func create(t *testing.T, tor *torrentfmt.Torrent, path string) *File {
	t.Helper()
	f, adopted, err := Create(t.Context(), tor, path, nil)
	must(t, err)
	if adopted {
		t.Fatal("adopted, want a new download")
	}
	return closeAtEnd(t, f)
}

func writeAll(t *testing.T, f *File, tor *torrentfmt.Torrent, data []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range tor.NumPieces() {
		wg.Go(func() {
			if err := f.WritePiece(i, pieceOf(tor, data, i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func wantPieces(t *testing.T, f *File, want ...uint) {
	t.Helper()
	if got := f.Have().AppendTo(nil); !slices.Equal(got, want) {
		t.Fatalf("has pieces %v, want %v", got, want)
	}
}

func wantSection(t *testing.T, f *File, i int, want []byte) {
	t.Helper()
	s, err := f.Section(i)
	must(t, err)
	if _, _, n := s.Outer(); n != int64(len(want)) {
		t.Fatalf("section is %d bytes, want %d", n, len(want))
	}
	got, err := io.ReadAll(s)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("section %d holds other bytes", i)
	}
}

func TestDownloadAppearsUnderItsNameOnlyWhenWhole(t *testing.T) {
	for _, size := range sizes {
		data, tor := content(size, 1)
		path := filepath.Join(t.TempDir(), "file")
		f := create(t, tor, path)
		if f.Whole() {
			t.Fatal("whole before Finish")
		}
		if tor.NumPieces() > 0 {
			wantErr(t, f.Finish(), ErrIncomplete)
		}
		writeAll(t, f, tor, data)
		wantAbsent(t, path)
		must(t, f.Finish())
		must(t, f.Finish()) // again is nothing
		if !f.Whole() {
			t.Fatal("not whole after Finish")
		}
		wantContent(t, path, data)
		wantAbsent(t, PartPath(path))
		for i := range tor.NumPieces() {
			wantSection(t, f, i, pieceOf(tor, data, i))
		}
		must(t, f.Close())
		seeded, err := Seed(t.Context(), tor, path, nil, nil)
		must(t, err)
		if !seeded.Whole() || seeded.Have().Count() != uint(tor.NumPieces()) {
			t.Fatal("the finished file does not seed whole")
		}
		must(t, seeded.Close())
	}
}

func TestSectionsAreReadersOverTheFileItself(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize, 1)
	f := create(t, tor, filepath.Join(t.TempDir(), "file"))
	must(t, f.WritePiece(1, pieceOf(tor, data, 1)))
	s, err := f.Section(1)
	must(t, err)
	outer, off, n := s.Outer()
	if _, ok := outer.(*os.File); !ok || off != torrentfmt.PieceSize || n != torrentfmt.PieceSize {
		t.Fatalf("section of %T at %d, %d bytes", outer, off, n)
	}
}

func TestPiecesThatAreNotThereAreTyped(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize+1, 1)
	f := create(t, tor, filepath.Join(t.TempDir(), "file"))
	_, err := f.Section(0)
	wantErr(t, err, ErrNoPiece)
	var pe *PieceError
	if !errors.As(err, &pe) || pe.Piece != 0 {
		t.Fatalf("%v is no *PieceError of piece 0", err)
	}
	for _, i := range []int{-1, 2} {
		_, err := f.Section(i)
		wantErr(t, err, fs.ErrInvalid)
		wantErr(t, f.WritePiece(i, data[:1]), fs.ErrInvalid)
	}
	wantErr(t, f.WritePiece(0, data[:1]), fs.ErrInvalid)
	wantErr(t, f.WritePiece(1, data[:2]), fs.ErrInvalid)
	wantPieces(t, f)
}

func TestHaveIsACopy(t *testing.T) {
	_, tor := content(torrentfmt.PieceSize, 1)
	f := create(t, tor, filepath.Join(t.TempDir(), "file"))
	f.Have().Set(0)
	wantPieces(t, f)
}

func TestUseAfterCloseFails(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	f := create(t, tor, path)
	must(t, f.WritePiece(0, data))
	s, err := f.Section(0)
	must(t, err)
	must(t, f.Close())
	if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("a section read %d bytes after Close: %v", n, err)
	}
	_, err = f.Section(0)
	wantErr(t, err, fs.ErrClosed)
	wantErr(t, f.WritePiece(0, data), fs.ErrClosed)
	wantErr(t, f.Finish(), fs.ErrClosed)
	wantErr(t, f.Remove(), fs.ErrClosed)
	wantErr(t, f.Close(), fs.ErrClosed)
	_, err = f.Sync()
	wantErr(t, err, fs.ErrClosed)
	wantAbsent(t, path)
}

func TestRemoveDeletesADownloadAndNeverAFinishedFile(t *testing.T) {
	data, tor := content(1, 1)
	path := filepath.Join(t.TempDir(), "file")
	f := create(t, tor, path)
	must(t, f.Remove())
	wantAbsent(t, PartPath(path))
	must(t, f.Close())

	f = create(t, tor, path)
	must(t, f.WritePiece(0, data))
	must(t, f.Finish())
	wantErr(t, f.Remove(), ErrFinished)
	must(t, f.Close())

	f, err := Seed(t.Context(), tor, path, nil, nil)
	must(t, err)
	wantErr(t, f.Remove(), ErrFinished)
	must(t, f.Close())
	wantContent(t, path, data)
}

func TestRemoveLeavesAForeignFileInThePartsPlace(t *testing.T) {
	_, tor := content(1, 1)
	path := filepath.Join(t.TempDir(), "file")
	f := create(t, tor, path)
	must(t, os.Rename(PartPath(path), path+".moved"))
	write(t, PartPath(path), []byte("foreign"))
	wantErr(t, f.Remove(), ErrReplaced)
	wantContent(t, PartPath(path), []byte("foreign"))
}

func TestSeedBelievesAMarkAndVerifiesWithoutOne(t *testing.T) {
	data, tor := content(3*torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, data)
	var verified int64
	progress := func(done, _ int64) { verified = done }
	f, err := Seed(t.Context(), tor, path, nil, progress)
	must(t, err)
	if verified != tor.Size {
		t.Fatalf("verified %d bytes of a file without a mark", verified)
	}
	mark, err := f.Mark()
	must(t, err)
	if synced, err := f.Sync(); err != nil || synced != mark {
		t.Fatalf("Sync = %v, %v; want %v", synced, err, mark)
	}
	must(t, f.Close())

	verified = 0
	f, err = Seed(t.Context(), tor, path, &mark, progress)
	must(t, err)
	wantSection(t, f, 2, pieceOf(tor, data, 2))
	must(t, f.Close())
	if verified != 0 {
		t.Fatal("hashed although the mark was the recorded one")
	}
	mark.ModTime++
	f, err = Seed(t.Context(), tor, path, &mark, progress)
	must(t, err)
	must(t, f.Close())
	if verified != tor.Size {
		t.Fatal("a wrong mark was believed")
	}
}

func TestSeedOfAnotherFileSaysHowMuchIsWrong(t *testing.T) {
	data, tor := content(3*torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	changed := bytes.Clone(data)
	changed[0]++
	changed[len(changed)-1]++
	for _, c := range []struct {
		data   []byte
		bad    int
		hashed bool
	}{{changed, 2, true}, {data[:len(data)-1], 3, false}, {append(bytes.Clone(data), 0), 3, false}, {nil, 3, false}} {
		write(t, path, c.data)
		hashed := false
		_, err := Seed(t.Context(), tor, path, nil, func(int64, int64) { hashed = true })
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || mismatch.Bad != c.bad || mismatch.Pieces != 3 || mismatch.Size != int64(len(c.data)) || hashed != c.hashed {
			t.Errorf("%d bytes: %v, hashed %v", len(c.data), err, hashed)
		}
	}
}

func TestSeedRefusesWhatIsNoFile(t *testing.T) {
	_, tor := content(0, 1)
	dir := t.TempDir()
	_, err := Seed(t.Context(), tor, dir, nil, nil)
	wantErr(t, err, torrentfmt.ErrNotRegular)
	_, err = Seed(t.Context(), tor, filepath.Join(dir, "none"), nil, nil)
	wantErr(t, err, fs.ErrNotExist)
}

func TestSeedNoticesAFileThatChangesWhileItIsVerified(t *testing.T) {
	data, tor := content(3*torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, data)
	_, err := Seed(t.Context(), tor, path, nil, func(done, total int64) {
		if done == total {
			if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
		}
	})
	wantErr(t, err, torrentfmt.ErrChanged)
}

func TestVerifyingCanBeCancelled(t *testing.T) {
	data, tor := content(16*torrentfmt.PieceSize, 1)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, data)
	write(t, PartPath(filepath.Join(dir, "other")), data)
	for name, open := range map[string]func(ctx context.Context, p Progress) (*File, error){
		"seed": func(ctx context.Context, p Progress) (*File, error) { return Seed(ctx, tor, path, nil, p) },
		"create": func(ctx context.Context, p Progress) (*File, error) {
			f, _, err := Create(ctx, tor, path, p)
			return f, err
		},
		"resume": func(ctx context.Context, p Progress) (*File, error) {
			return Resume(ctx, tor, filepath.Join(dir, "other"), nil, nil, p)
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		f, err := open(ctx, func(int64, int64) { cancel() })
		if f != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	wantContent(t, path, data)
	wantContent(t, PartPath(filepath.Join(dir, "other")), data)
}

func TestPartNamesFitTheFileSystem(t *testing.T) {
	for _, name := range []string{"a", strings.Repeat("n", 250), strings.Repeat("n", 251), strings.Repeat("n", 255), strings.Repeat("日", 85), strings.Repeat("é", 127) + "x"} {
		data, tor := content(1, 1)
		path := filepath.Join(t.TempDir(), name)
		f := create(t, tor, path)
		if part := filepath.Base(PartPath(path)); len(part) > maxName || !strings.HasSuffix(part, partExt) || strings.ToValidUTF8(part, "") != part {
			t.Errorf("part of a %d byte name: %q", len(name), part)
		}
		if _, err := os.Lstat(PartPath(path)); err != nil {
			t.Error(err)
		}
		must(t, f.WritePiece(0, data))
		must(t, f.Finish())
		wantContent(t, path, data)
	}
	a, b := strings.Repeat("n", 254)+"a", strings.Repeat("n", 254)+"b"
	if PartPath(a) == PartPath(b) {
		t.Error("two long names share one .part")
	}
}

func TestOpenedFilesAreClosedOnEveryRefusal(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(fds)
	}
	data, tor := content(torrentfmt.PieceSize+1, 1)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, []byte("foreign"))
	write(t, PartPath(filepath.Join(dir, "other")), []byte("foreign"))
	f := create(t, tor, filepath.Join(dir, "held"))
	before := count()
	for range 5 {
		_, _, err := Create(t.Context(), tor, path, nil)
		wantErr(t, err, ErrOccupied)
		_, _, err = Create(t.Context(), tor, filepath.Join(dir, "other"), nil)
		wantErr(t, err, ErrOccupied)
		_, _, err = Create(t.Context(), tor, filepath.Join(dir, "held"), nil)
		wantErr(t, err, ErrLocked)
		_, err = Resume(t.Context(), tor, filepath.Join(dir, "held"), nil, nil, nil)
		wantErr(t, err, ErrLocked)
		_, err = Resume(t.Context(), tor, filepath.Join(dir, "none"), nil, nil, nil)
		wantErr(t, err, fs.ErrNotExist)
		_, err = Seed(t.Context(), tor, path, nil, nil)
		if err == nil {
			t.Fatal("seeded a foreign file")
		}
		g := create(t, tor, filepath.Join(dir, "good"))
		writeAll(t, g, tor, data)
		must(t, g.Finish())
		must(t, g.Close())
		must(t, os.Remove(filepath.Join(dir, "good")))
	}
	if after := count(); after != before {
		t.Fatalf("%d descriptors before, %d after", before, after)
	}
	must(t, f.Close())
	if after := count(); after >= before {
		t.Fatalf("Close freed nothing: %d descriptors before, %d after", before, after)
	}
}

func allOf(n int) *bitset.BitSet { return bitset.New(uint(n)).FlipRange(0, uint(n)) }
