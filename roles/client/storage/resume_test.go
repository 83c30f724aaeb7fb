package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func resume(t *testing.T, tor *torrentfmt.Torrent, path string, have *bitset.BitSet, mark *Mark, progress Progress) *File {
	t.Helper()
	f, err := Resume(t.Context(), tor, path, have, mark, progress)
	must(t, err)
	return closeAtEnd(t, f)
}

func TestResumeBelievesAMarkAndVerifiesWithoutOne(t *testing.T) {
	data, tor := content(4*torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	f := create(t, tor, path)
	must(t, f.WritePiece(1, pieceOf(tor, data, 1)))
	must(t, f.WritePiece(3, pieceOf(tor, data, 3)))
	have, mark, err := f.Checkpoint()
	must(t, err)
	if mark.Size != tor.Size || have.Count() != 2 {
		t.Fatalf("checkpoint of %d pieces, mark %+v", have.Count(), mark)
	}
	must(t, f.Close())

	hashed := false
	progress := func(int64, int64) { hashed = true }
	f = resume(t, tor, path, have, &mark, progress)
	wantPieces(t, f, 1, 3)
	wantSection(t, f, 3, pieceOf(tor, data, 3))
	have.Set(0) // the caller's, not the file's
	wantPieces(t, f, 1, 3)
	must(t, f.Close())
	if hashed {
		t.Fatal("hashed although the mark was the recorded one")
	}
	older := mark
	older.ModTime--
	for name, c := range map[string]struct {
		have *bitset.BitSet
		mark *Mark
	}{
		"no mark":       {allOf(4), nil},
		"no pieces":     {nil, &mark},
		"too few":       {allOf(3), &mark},
		"too many":      {allOf(5), &mark},
		"another mark":  {allOf(4), &older},
		"nothing saved": {nil, nil},
	} {
		hashed = false
		f := resume(t, tor, path, c.have, c.mark, progress)
		wantPieces(t, f, 1, 3)
		must(t, f.Close())
		if !hashed {
			t.Errorf("%s: believed", name)
		}
	}
}

// The steps of a download at which the process can be killed, each as it leaves
// the folder. Whatever was recorded before, resuming ends with the right file.
func TestResumeAfterAKillBetweenAnyTwoSteps(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize+9, 1)
	torn := append([]byte{}, data...)
	clear(torn[torrentfmt.PieceSize+100:])
	onePiece := append(append([]byte{}, data[:torrentfmt.PieceSize]...), make([]byte, len(data)-torrentfmt.PieceSize)...)
	for name, lay := range map[string]func(path string) error{
		"made, not allocated": func(p string) error { return os.WriteFile(PartPath(p), nil, 0o644) },
		"half allocated":      func(p string) error { return os.WriteFile(PartPath(p), make([]byte, 77), 0o644) },
		"allocated":           func(p string) error { return os.WriteFile(PartPath(p), make([]byte, len(data)), 0o644) },
		"a piece":             func(p string) error { return os.WriteFile(PartPath(p), onePiece, 0o644) },
		"a piece and a torn":  func(p string) error { return os.WriteFile(PartPath(p), torn, 0o644) },
		"only a torn": func(p string) error {
			return os.WriteFile(PartPath(p), append([]byte{data[0]}, make([]byte, len(data)-1)...), 0o644)
		},
		"complete, no rename": func(p string) error { return os.WriteFile(PartPath(p), data, 0o644) },
		"linked, not unlinked": func(p string) error {
			return errors.Join(os.WriteFile(PartPath(p), data, 0o644), os.Link(PartPath(p), p))
		},
		"renamed": func(p string) error { return os.WriteFile(p, data, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			must(t, lay(path))
			f := resume(t, tor, path, allOf(3), &Mark{Size: tor.Size, ModTime: 1}, nil)
			if f.Whole() != (name == "renamed") {
				t.Fatalf("whole: %v", f.Whole())
			}
			for i := range tor.NumPieces() {
				if f.Have().Test(uint(i)) {
					wantSection(t, f, i, pieceOf(tor, data, i))
				}
			}
			writeAll(t, f, tor, data)
			must(t, f.Finish())
			must(t, f.Close())
			wantContent(t, path, data)
			wantAbsent(t, PartPath(path))
		})
	}
}

func TestGetAfterAKillBetweenLinkAndUnlinkTidiesUp(t *testing.T) {
	data, tor := content(9, 1)
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, data)
	must(t, os.Link(path, PartPath(path)))
	f, adopted, err := Create(t.Context(), tor, path, nil)
	must(t, err)
	closeAtEnd(t, f)
	if !adopted {
		t.Fatal("not adopted")
	}
	wantAbsent(t, PartPath(path))
	wantContent(t, path, data)
}

func TestResumeWithoutAPartIsNotExist(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	_, err := Resume(t.Context(), tor, path, nil, nil, nil)
	wantErr(t, err, fs.ErrNotExist)
	data[0]++
	write(t, path, data)
	_, err = Resume(t.Context(), tor, path, nil, nil, nil)
	wantErr(t, err, fs.ErrNotExist)
	wantErr(t, err, ErrOccupied)
	wantContent(t, path, data)
}

func TestResumeRefusesWhatIsNotItsPart(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize, 1)
	dir := t.TempDir()
	longer, folder, link := filepath.Join(dir, "longer"), filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	write(t, PartPath(longer), append(data, 1))
	must(t, os.Mkdir(PartPath(folder), 0o755))
	write(t, filepath.Join(dir, "real"), data)
	must(t, os.Symlink("real", PartPath(link)))
	for _, path := range []string{longer, folder, link} {
		_, err := Resume(t.Context(), tor, path, nil, nil, nil)
		wantOccupied(t, err, PartPath(path))
	}
	f := create(t, tor, filepath.Join(dir, "held"))
	_, err := Resume(t.Context(), tor, filepath.Join(dir, "held"), nil, nil, nil)
	wantErr(t, err, ErrLocked)
	must(t, f.Close())
}
