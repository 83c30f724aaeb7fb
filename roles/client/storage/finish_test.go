package storage

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestFinishNeverOverwritesWhatAppearedMeanwhile(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize+1, 1)
	for name, lay := range map[string]func(path string) error{
		"file":          func(p string) error { return os.WriteFile(p, []byte("foreign"), 0o644) },
		"folder":        func(p string) error { return os.Mkdir(p, 0o755) },
		"dangling link": func(p string) error { return os.Symlink("nowhere", p) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			f := create(t, tor, path)
			writeAll(t, f, tor, data)
			must(t, lay(path))
			before, err := os.Lstat(path)
			must(t, err)
			wantOccupied(t, f.Finish(), path)
			after, err := os.Lstat(path)
			must(t, err)
			if !os.SameFile(before, after) || f.Whole() {
				t.Fatal("it was replaced")
			}
			wantContent(t, PartPath(path), data)
			wantSection(t, f, 1, pieceOf(tor, data, 1))
			must(t, os.Remove(path)) // the user makes room
			must(t, f.Finish())
			wantContent(t, path, data)
		})
	}
}

func TestRenameByLinkNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer func() { _ = root.Close() }()
	for name, rename := range map[string]func(*os.Root, string, string) error{"system": renameNoReplace, "link": renameByLink} {
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		write(t, from, []byte("new"))
		write(t, to, []byte("old"))
		if err := rename(root, "from", "to"); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("%s: %v", name, err)
		}
		wantContent(t, to, []byte("old"))
		wantContent(t, from, []byte("new"))
		must(t, os.Remove(to))
		must(t, rename(root, "from", "to"))
		wantContent(t, to, []byte("new"))
		wantAbsent(t, from)
		must(t, os.Remove(to))
		if err := rename(root, "from", "to"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s of nothing: %v", name, err)
		}
	}
}

func TestFinishPublishesNothingThatIsNotItsOwn(t *testing.T) {
	data, tor := content(torrentfmt.PieceSize+1, 1)
	for name, harm := range map[string]func(part string) error{
		"deleted":  os.Remove,
		"moved":    func(p string) error { return os.Rename(p, p+".moved") },
		"replaced": func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, make([]byte, tor.Size), 0o644)) },
		"linked":   func(p string) error { return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p)) },
		"grown":    func(p string) error { return os.Truncate(p, tor.Size+1) },
		"cut":      func(p string) error { return os.Truncate(p, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			f := create(t, tor, path)
			writeAll(t, f, tor, data)
			must(t, harm(PartPath(path)))
			wantErr(t, f.Finish(), ErrReplaced)
			wantAbsent(t, path)
		})
	}
}

func TestSectionsStayGoodWhileFinishRenames(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize+1, 1)
	for range 5 {
		f := create(t, tor, filepath.Join(t.TempDir(), "file"))
		writeAll(t, f, tor, data)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range tor.NumPieces() {
			wg.Go(func() {
				<-start
				buf := make([]byte, tor.PieceLen(i))
				for range 10 {
					s, err := f.Section(i)
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := io.ReadFull(s, buf); err != nil || !bytes.Equal(buf, pieceOf(tor, data, i)) {
						t.Errorf("piece %d: other bytes (%v)", i, err)
					}
				}
			})
		}
		wg.Go(func() {
			<-start
			if err := f.Finish(); err != nil {
				t.Error(err)
			}
		})
		close(start)
		wg.Wait()
		must(t, f.Close())
	}
}

// A reader that is under way when the file is closed gets the right bytes or an
// error, also when another file takes over the descriptor's number.
func TestCloseNeverYieldsAWrongByte(t *testing.T) {
	data, tor := content(2*torrentfmt.PieceSize, 1)
	dir := t.TempDir()
	path, foreign := filepath.Join(dir, "file"), filepath.Join(dir, "foreign")
	write(t, path, data)
	write(t, foreign, make([]byte, len(data)))
	for range 50 {
		mark := func() *Mark {
			info, err := os.Stat(path)
			must(t, err)
			m := markOf(info)
			return &m
		}()
		f, err := Seed(t.Context(), tor, path, mark, nil)
		must(t, err)
		var wg sync.WaitGroup
		for i := range tor.NumPieces() {
			s, err := f.Section(i)
			must(t, err)
			wg.Go(func() {
				got, err := io.ReadAll(s)
				if !bytes.Equal(got, pieceOf(tor, data, i)[:len(got)]) {
					t.Error("a wrong byte")
				}
				if err != nil && !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
			})
		}
		must(t, f.Close())
		other, err := os.Open(foreign)
		must(t, err)
		wg.Wait()
		must(t, other.Close())
	}
}

// What is saved is a claim about bytes on disk, so it must never run ahead of
// them, however many pieces are written meanwhile.
func TestCheckpointClaimsNoPieceThatWasWrittenAfterIt(t *testing.T) {
	data, tor := content(40*torrentfmt.PieceSize, 1)
	path := filepath.Join(t.TempDir(), "file")
	f := create(t, tor, path)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range tor.NumPieces() {
			if err := f.WritePiece(i, pieceOf(tor, data, i)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 5 {
		before := f.Have()
		have, _, err := f.Checkpoint()
		must(t, err)
		if after := f.Have(); !have.IsSuperSet(before) || !after.IsSuperSet(have) {
			t.Fatal("the saved pieces are not between those before and after")
		}
	}
	wg.Wait()
	have, mark, err := f.Checkpoint()
	must(t, err)
	must(t, f.Close())
	f = resume(t, tor, path, have, &mark, nil)
	must(t, f.Finish())
	wantContent(t, path, data)
}
