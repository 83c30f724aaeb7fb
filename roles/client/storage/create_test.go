package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestForeignThingsAtTheDestinationAreRefusedAndLeftAlone(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize, 1)
	other, _ := content(2*torrentfmt.PieceSize, 2)
	for name, lay := range map[string]func(path string) error{
		"another size":     func(p string) error { return os.WriteFile(p, data[:len(data)-1], 0o644) },
		"empty":            func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"same size, other": func(p string) error { return os.WriteFile(p, other, 0o644) },
		"folder":           func(p string) error { return os.Mkdir(p, 0o755) },
		"dangling link":    func(p string) error { return os.Symlink("nowhere", p) },
		"link to the file": func(p string) error {
			return errors.Join(os.WriteFile(p+".real", data, 0o644), os.Symlink(p+".real", p))
		},
		"link to itself": func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"link into the folder": func(p string) error {
			return errors.Join(os.WriteFile(p+".real", data, 0o644), os.Symlink(filepath.Base(p)+".real", p))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			must(t, lay(path))
			before, err := os.Lstat(path)
			must(t, err)
			hashed := false
			_, _, err = Create(t.Context(), tor, path, func(int64, int64) { hashed = true })
			wantOccupied(t, err, path)
			if hashed != (name == "same size, other") {
				t.Errorf("hashed: %v", hashed)
			}
			after, err := os.Lstat(path)
			must(t, err)
			if !os.SameFile(before, after) || before.Size() != after.Size() || before.ModTime() != after.ModTime() {
				t.Error("it was changed")
			}
			wantAbsent(t, PartPath(path))
		})
	}
}

func TestAWholeFileAtTheDestinationIsAdopted(t *testing.T) {
	for _, size := range sizes {
		data, tor := content(size, 1)
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, data)
		f, adopted, err := Create(t.Context(), tor, path, nil)
		must(t, err)
		if !adopted || !f.Whole() {
			t.Fatalf("size %d: adopted %v, whole %v", size, adopted, f.Whole())
		}
		for i := range tor.NumPieces() {
			wantSection(t, f, i, pieceOf(tor, data, i))
		}
		must(t, f.Finish())
		wantErr(t, f.Remove(), ErrFinished)
		must(t, f.Close())
		wantAbsent(t, PartPath(path))
		wantContent(t, path, data)
	}
}

func TestAPartIsTakenUpWithItsGoodPieces(t *testing.T) {
	data, tor := content(3*torrentfmt.PieceSize+7, 1)
	for name, c := range map[string]struct {
		part []byte
		good []uint
	}{
		"empty":           {nil, nil},
		"zeros":           {make([]byte, tor.Size), nil},
		"zeros, short":    {make([]byte, 100), nil},
		"whole":           {data, []uint{0, 1, 2, 3}},
		"cut":             {data[:2*torrentfmt.PieceSize+5], []uint{0, 1}},
		"one, and a torn": {append(append([]byte{}, data[:torrentfmt.PieceSize]...), make([]byte, torrentfmt.PieceSize)...), []uint{0}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			write(t, PartPath(path), c.part)
			f := create(t, tor, path)
			wantPieces(t, f, c.good...)
			writeAll(t, f, tor, data)
			must(t, f.Finish())
			wantContent(t, path, data)
		})
	}
}

func TestForeignThingsInThePartsPlaceAreRefusedAndLeftAlone(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize, 1)
	other, _ := content(2*torrentfmt.PieceSize, 2)
	for name, lay := range map[string]func(part string) error{
		"a download of another program": func(p string) error { return os.WriteFile(p, other, 0o644) },
		"a few bytes":                   func(p string) error { return os.WriteFile(p, []byte("mine"), 0o644) },
		"a longer file":                 func(p string) error { return os.WriteFile(p, append(data, 1), 0o644) },
		"folder":                        func(p string) error { return os.Mkdir(p, 0o755) },
		"dangling link":                 func(p string) error { return os.Symlink("nowhere", p) },
		"link to a file": func(p string) error {
			return errors.Join(os.WriteFile(p+".real", data, 0o644), os.Symlink(p+".real", p))
		},
		"link within the folder": func(p string) error {
			return errors.Join(os.WriteFile(p+".real", data, 0o644), os.Symlink(filepath.Base(p)+".real", p))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			part := PartPath(path)
			must(t, lay(part))
			before, err := os.Lstat(part)
			must(t, err)
			_, _, err = Create(t.Context(), tor, path, nil)
			wantOccupied(t, err, part)
			after, err := os.Lstat(part)
			must(t, err)
			if !os.SameFile(before, after) || before.Size() != after.Size() || before.ModTime() != after.ModTime() {
				t.Error("it was changed")
			}
			wantAbsent(t, path)
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "nowhere")); err == nil {
				t.Error("written through the link")
			}
		})
	}
}

func TestOnlyOneOfManyCreatorsGetsTheDestination(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize+1, 1)
	for range 20 {
		path := filepath.Join(t.TempDir(), "file")
		files := make([]*File, 8)
		var wg sync.WaitGroup
		for i := range files {
			wg.Go(func() {
				f, adopted, err := Create(t.Context(), tor, path, nil)
				if err == nil && !adopted {
					files[i] = f
				} else if !errors.Is(err, ErrLocked) {
					t.Errorf("adopted %v, %v", adopted, err)
				}
			})
		}
		wg.Wait()
		var winner *File
		for _, f := range files {
			if f != nil && winner != nil {
				t.Fatal("two downloads write one .part")
			}
			if f != nil {
				winner = f
			}
		}
		if winner == nil {
			t.Fatal("nobody got it")
		}
		writeAll(t, winner, tor, data)
		must(t, winner.Finish())
		must(t, winner.Close())
		wantContent(t, path, data)
	}
}

// Creators race with one that finishes, closes, or removes: whatever they get,
// it is the whole file, the download, or a refusal, and never a wrong byte.
func TestCreatorsRacingWithTheEndOfADownload(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize+1, 1)
	for round := range 60 {
		path := filepath.Join(t.TempDir(), "file")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				f, _, err := Create(t.Context(), tor, path, nil)
				if err != nil {
					if !errors.Is(err, ErrOccupied) {
						t.Error(err)
					}
					return
				}
				if !f.Whole() {
					for i := range tor.NumPieces() {
						if err := f.WritePiece(i, pieceOf(tor, data, i)); err != nil {
							t.Error(err)
						}
					}
					if round%3 == 0 {
						if err := f.Remove(); err != nil {
							t.Error(err)
						}
					} else if err := f.Finish(); err != nil {
						t.Error(err)
					}
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if round%3 == 0 {
			wantAbsent(t, path)
		} else {
			wantContent(t, path, data)
		}
		wantAbsent(t, PartPath(path))
	}
}

func TestDestinationThatCannotBeWrittenIsRefusedAtOnce(t *testing.T) {
	_, tor := content(1, 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, nil)
	for name, path := range map[string]string{
		"no folder":       filepath.Join(dir, "none", "file"),
		"file as folder":  filepath.Join(file, "file"),
		"a folder's name": dir + string(filepath.Separator),
		"dot":             filepath.Join(dir, "x") + "/.",
		"dot dot":         dir + "/..",
		"nothing":         "",
	} {
		if f, _, err := Create(t.Context(), tor, path, nil); err == nil {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestReadOnlyFolderIsRefusedAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("permission bits do not bind this user")
	}
	_, tor := content(1, 1)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	_, _, err := Create(t.Context(), tor, filepath.Join(dir, "file"), nil)
	wantErr(t, err, fs.ErrPermission)
}

func TestPartNameInANotWritableFileSystemIsRefused(t *testing.T) {
	// /proc takes no new files, not even from root.
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("no /proc here")
	}
	_, tor := content(1, 1)
	if f, _, err := Create(t.Context(), tor, "/proc/self/mtor-file", nil); err == nil {
		t.Fatalf("created %v", f)
	}
}

func TestMovingTheFolderDoesNotLeadElsewhere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open folder cannot be moved here")
	}
	data, tor := content(1, 1)
	base := t.TempDir()
	dir := filepath.Join(base, "dir")
	must(t, os.Mkdir(dir, 0o755))
	f := create(t, tor, filepath.Join(dir, "file"))
	must(t, os.Rename(dir, dir+".moved"))
	must(t, os.Mkdir(dir, 0o755))
	write(t, filepath.Join(dir, "file"), []byte("foreign"))
	must(t, f.WritePiece(0, data))
	must(t, f.Finish())
	wantContent(t, filepath.Join(dir, "file"), []byte("foreign"))
	wantContent(t, filepath.Join(dir+".moved", "file"), data)
}
