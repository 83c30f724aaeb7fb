package storage

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// folderContent is content as a folder: pieces begin and end within files, and
// one file holds several.
func folderContent(seed byte) ([]byte, *torrentfmt.Torrent) {
	const p = torrentfmt.PieceSize
	files := []torrentfmt.File{
		{Path: "a", Size: p - 1}, {Path: "b/empty"}, {Path: "b/run", Size: 2, Executable: true},
		{Path: "b/tiny", Size: 1}, {Path: "c/d/big", Size: 2*p + 9}, {Path: "z", Size: 7},
	}
	total := int64(0)
	for _, f := range files {
		total += f.Size
	}
	data, t := content(total, seed)
	t.Files, t.Name = files, "folder"
	return data, t
}

// wantFolder holds a folder against the run of its bytes.
func wantFolder(t *testing.T, path string, tor *torrentfmt.Torrent, data []byte) {
	t.Helper()
	for _, f := range tor.Files {
		at := filepath.Join(path, filepath.FromSlash(f.Path))
		wantContent(t, at, data[:f.Size])
		data = data[f.Size:]
		info, err := os.Stat(at)
		must(t, err)
		if got := info.Mode()&0o100 != 0; got != f.Executable && os.PathSeparator == '/' {
			t.Errorf("%s: executable is %v", f.Path, got)
		}
	}
}

func TestFolderComesUnderItsNameOnlyWhole(t *testing.T) {
	data, tor := folderContent(1)
	path := filepath.Join(t.TempDir(), "folder")
	f := create(t, tor, path)
	wantErr(t, f.Finish(), ErrIncomplete)
	writeAll(t, f, tor, data)
	wantAbsent(t, path)
	must(t, f.Finish())
	wantFolder(t, path, tor, data)
	wantAbsent(t, PartPath(path))
	for i := range tor.NumPieces() {
		wantSection(t, f, i, pieceOf(tor, data, i))
	}
	must(t, f.Close())
	seeded, err := Seed(t.Context(), tor, path, nil, nil)
	must(t, err)
	if !seeded.Whole() || !seeded.Have().All() {
		t.Fatal("the finished folder does not seed whole")
	}
	must(t, seeded.Close())
	again, adopted, err := Create(t.Context(), tor, path, nil)
	must(t, err)
	if !adopted || !again.Whole() {
		t.Fatal("the finished folder is not adopted")
	}
	must(t, again.Close())
}

func TestFolderIsTakenUpWhereItStopped(t *testing.T) {
	data, tor := folderContent(2)
	path := filepath.Join(t.TempDir(), "folder")
	f := create(t, tor, path)
	must(t, f.WritePiece(1, pieceOf(tor, data, 1)))
	have, mark, err := f.Checkpoint()
	must(t, err)
	must(t, f.Close())

	believed, err := Resume(t.Context(), tor, path, have, &mark, nil)
	must(t, err)
	if got := believed.Have(); got.Count() != 1 || !got.Test(1) {
		t.Fatalf("believed: %v", got)
	}
	must(t, believed.Close())

	// A file of it is gone: everything is looked at again, and made anew.
	must(t, os.Remove(filepath.Join(PartPath(path), "z")))
	f, err = Resume(t.Context(), tor, path, have, &mark, nil)
	must(t, err)
	if got := f.Have(); got.Count() != 1 || !got.Test(1) {
		t.Fatalf("found: %v", got)
	}
	writeAll(t, f, tor, data)
	must(t, f.Finish())
	wantFolder(t, path, tor, data)
	must(t, f.Close())
}

func TestFolderDownloadRefusesWhatIsThere(t *testing.T) {
	data, tor := folderContent(3)
	dir := t.TempDir()
	for what, put := range map[string]func(path string){
		"a file": func(path string) { write(t, path, data) },
		"another folder": func(path string) {
			must(t, os.Mkdir(path, 0o755))
			write(t, filepath.Join(path, "a"), []byte("other"))
		},
		"an empty folder":        func(path string) { must(t, os.Mkdir(path, 0o755)) },
		"a symbolic link":        func(path string) { must(t, os.Symlink(dir, path)) },
		"a .part that is a file": func(path string) { write(t, PartPath(path), []byte("x")) },
		"a .part of somebody else": func(path string) {
			must(t, os.Mkdir(PartPath(path), 0o755))
			write(t, filepath.Join(PartPath(path), "a"), []byte("mine"))
		},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(what, " ", "-"))
		put(path)
		f, _, err := Create(t.Context(), tor, path, nil)
		if !errors.Is(err, ErrOccupied) {
			t.Errorf("%s: %v, %v", what, f, err)
		}
	}
}

func TestFolderDownloadFollowsNoLinkOut(t *testing.T) {
	data, tor := folderContent(4)
	outside := t.TempDir()
	path := filepath.Join(t.TempDir(), "folder")
	must(t, os.MkdirAll(filepath.Join(PartPath(path), "c"), 0o755))
	if err := os.Symlink(outside, filepath.Join(PartPath(path), "b")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if f, _, err := Create(t.Context(), tor, path, nil); err == nil {
		writeAll(t, f, tor, data)
		t.Errorf("it was taken: %v", f.Close())
	}
	left, err := os.ReadDir(outside)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
}

// Two paths that lead to one file would overwrite each other's pieces after
// they were verified, and the folder would come whole with wrong bytes.
func TestFolderPartWhosePathsLeadToOneFileIsRefused(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize, 5)
	tor.Files = []torrentfmt.File{{Path: "a/f", Size: torrentfmt.PieceSize}, {Path: "b/f", Size: torrentfmt.PieceSize}}
	for what, alias := range map[string]func(part string) error{
		"linked folder": func(part string) error { return os.Symlink("a", filepath.Join(part, "b")) },
		"linked file": func(part string) error {
			return errors.Join(os.Mkdir(filepath.Join(part, "b"), 0o755),
				os.Symlink("../a/f", filepath.Join(part, "b", "f")))
		},
		"hard link": func(part string) error {
			return errors.Join(os.WriteFile(filepath.Join(part, "a", "f"), nil, 0o644),
				os.Mkdir(filepath.Join(part, "b"), 0o755),
				os.Link(filepath.Join(part, "a", "f"), filepath.Join(part, "b", "f")))
		},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder")
			part := PartPath(path)
			must(t, os.MkdirAll(filepath.Join(part, "a"), 0o755))
			if err := alias(part); err != nil {
				t.Skipf("no such links here: %v", err)
			}
			if runtime.GOOS == "windows" && what == "hard link" {
				t.Skip("the names of a file are not counted here")
			}
			f, _, err := Create(t.Context(), tor, path, nil)
			if err == nil {
				writeAll(t, f, tor, data)
				must(t, f.Close())
			}
			wantErr(t, err, ErrOccupied)
			_, err = Resume(t.Context(), tor, path, nil, nil, nil)
			wantErr(t, err, ErrOccupied)
			wantAbsent(t, path)
		})
	}
}

func TestRemovedFolderDownloadLeavesOnlyWhatIsNotItsOwn(t *testing.T) {
	data, tor := folderContent(5)
	path := filepath.Join(t.TempDir(), "folder")
	f := create(t, tor, path)
	must(t, f.WritePiece(0, pieceOf(tor, data, 0)))
	note := filepath.Join(PartPath(path), "b", "note")
	write(t, note, []byte("mine"))
	must(t, f.Remove())
	must(t, f.Close())
	wantContent(t, note, []byte("mine"))
	wantAbsent(t, filepath.Join(PartPath(path), "c"))

	other := filepath.Join(t.TempDir(), "folder")
	f = create(t, tor, other)
	must(t, f.Remove())
	must(t, f.Close())
	wantAbsent(t, PartPath(other))
}

func TestOnePartIsWrittenByOneDownload(t *testing.T) {
	_, tor := folderContent(6)
	path := filepath.Join(t.TempDir(), "folder")
	create(t, tor, path)
	_, _, err := Create(t.Context(), tor, path, nil)
	wantErr(t, err, ErrLocked)
}

// A piece that is no longer what the torrent says is not handed out.
func TestChangedFilesLoseTheirPieces(t *testing.T) {
	single, tor := content(3*torrentfmt.PieceSize, 7)
	folder, tree := folderContent(8)
	tests := []struct {
		what   string
		tor    *torrentfmt.Torrent
		data   []byte
		change func(path string) error
		lost   []int // in the order of asking
		left   uint
	}{
		{"bytes changed", tor, single, func(p string) error { return poke(p, torrentfmt.PieceSize+5) }, []int{1}, 2},
		{"touched only", tor, single, func(p string) error { return os.WriteFile(p, single, 0o644) }, nil, 3},
		{"cut", tor, single, func(p string) error { return os.Truncate(p, torrentfmt.PieceSize) }, []int{1, 2}, 1},
		{"deleted", tor, single, os.Remove, []int{0, 1, 2}, 0},
		{"replaced", tor, single, func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.WriteFile(p, single, 0o644)) }, []int{0, 1, 2}, 0},
		{"a file changed", tree, folder, func(p string) error { return poke(filepath.Join(p, "b", "tiny"), 0) }, []int{1}, 3},
		{"a file deleted", tree, folder, func(p string) error { return os.Remove(filepath.Join(p, "a")) }, []int{0}, 3},
		{"a file replaced by its like", tree, folder, func(p string) error {
			p = filepath.Join(p, "a")
			return errors.Join(os.Rename(p, p+"2"), os.WriteFile(p, folder[:torrentfmt.PieceSize-1], 0o644))
		}, nil, 4},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "it")
			f := create(t, tt.tor, path)
			writeAll(t, f, tt.tor, tt.data)
			must(t, f.Finish())
			before, err := f.Mark()
			must(t, err)
			must(t, tt.change(path))
			var lost []int
			for i := range tt.tor.NumPieces() {
				if _, err := f.Section(i); err != nil {
					if !errors.Is(err, ErrChanged) && !errors.Is(err, ErrNoPiece) {
						t.Fatal(err)
					}
					lost = append(lost, i)
				} else {
					wantSection(t, f, i, pieceOf(tt.tor, tt.data, i))
				}
			}
			if got := f.Have().Count(); got != tt.left || len(lost) != len(tt.lost) {
				t.Errorf("lost %v, left %d; want %v, %d", lost, got, tt.lost, tt.left)
			}
			// What is recorded must not make the next start believe it.
			if after, err := f.Mark(); err != nil || after != before {
				t.Errorf("the mark became %v, %v", after, err)
			}
		})
	}
}

// poke changes one byte, and makes sure that the time of the file tells.
func poke(path string, at int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{0}, at)
	later := info.ModTime().Add(1)
	return errors.Join(err, f.Close(), os.Chtimes(path, later, later))
}
