package torrentfmt

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folderOf makes a folder of files.
func folderOf(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPiecesOfAFolderCrossItsFiles(t *testing.T) {
	a, b, c := bytes.Repeat([]byte{1}, PieceSize-3), []byte("bbbbb"), bytes.Repeat([]byte{3}, PieceSize)
	dir := folderOf(t, map[string][]byte{"z": c, "b/b": b, "a": a, "b/empty": nil, "b-": nil})
	if err := os.Chmod(filepath.Join(dir, "b", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	var last int64
	got, infos, err := CreateFolder(t.Context(), dir, [2]string{"a:1", "b:1"}, func(done, _ int64) { last = done }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err != nil {
		t.Fatal(err)
	}
	whole := slices.Concat(a, b, c)
	var hashes []byte
	for piece := range slices.Chunk(whole, PieceSize) {
		sum := sha1.Sum(piece)
		hashes = append(hashes, sum[:]...)
	}
	executable := got.Files[2].Executable // not on every system
	want := []File{{"a", int64(len(a)), false}, {"b-", 0, false}, {"b/b", 5, executable}, {"b/empty", 0, false}, {"z", PieceSize, false}}
	if got.Name != "model" || got.Size != int64(len(whole)) || last != got.Size || len(infos) != 5 ||
		!slices.Equal(got.Files, want) || !bytes.Equal(got.Hashes, hashes) {
		t.Errorf("got %+v", got)
	}
	have, size, err := VerifyFolder(t.Context(), got, dir, nil)
	if err != nil || !have.All() || size != got.Size {
		t.Errorf("verified: %v, %d, %v", have, size, err)
	}
	// A file that is missing spoils its pieces and no others.
	if err := os.Remove(filepath.Join(dir, "z")); err != nil {
		t.Fatal(err)
	}
	have, size, err = VerifyFolder(t.Context(), got, dir, nil)
	if err != nil || have.Count() != 1 || !have.Test(0) || size != got.Size-PieceSize {
		t.Errorf("without a file: %v, %d, %v", have, size, err)
	}
}

func TestWhatIsNoRegularFileIsLeftOut(t *testing.T) {
	dir := folderOf(t, map[string][]byte{"file": []byte("x"), "sub/file": []byte("y")})
	if err := os.Symlink("/etc", filepath.Join(dir, "sub", "link")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	var left []string
	got, _, err := CreateFolder(t.Context(), dir, [2]string{"a:1", "b:1"}, nil, func(path, what string) {
		left = append(left, path+" is "+what)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 2 || !slices.Equal(left, []string{"sub/link is a symbolic link"}) {
		t.Errorf("files %v, left out %q", got.Files, left)
	}
}

func TestFoldersThatCannotBeSharedSayWhy(t *testing.T) {
	make := func(names ...string) string {
		files := map[string][]byte{}
		for _, n := range names {
			files[n] = []byte("x")
		}
		return folderOf(t, files)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.MkdirAll(filepath.Join(empty, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for want, dir := range map[string]string{
		"nothing to share":              empty,
		"cannot both stand in one":      make("File", "file"),
		"holds the separator":           make(`a\b`),
		"holds the control character":   make("a\nb"),
		"not UTF-8":                     make("a\xff"),
		"no such file":                  filepath.Join(empty, "missing"),
		"components: at most 64":        make(strings.Repeat("d/", MaxDepth) + "f"),
		"cannot both stand in one fold": make("É", "é"),
	} {
		got, _, err := CreateFolder(t.Context(), dir, [2]string{"a:1", "b:1"}, nil, nil)
		if err == nil && want != "nothing to share" && len(got.Files) < 2 {
			continue // a file system that does not tell such names apart
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

func TestAFolderThatChangesWhileItIsHashedIsRefused(t *testing.T) {
	big := bytes.Repeat([]byte{1}, 2*PieceSize)
	for what, change := range map[string]func(path string) error{
		"changed": func(path string) error { return os.WriteFile(path, []byte("other"), 0o600) },
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, big, 0o600))
		},
		"deleted": os.Remove,
	} {
		dir := folderOf(t, map[string][]byte{"a": big, "z": big})
		done := false
		_, _, err := CreateFolder(t.Context(), dir, [2]string{"a:1", "b:1"}, func(int64, int64) {
			if !done {
				done = true
				if err := change(filepath.Join(dir, "a")); err != nil {
					t.Error(err)
				}
			}
		}, nil)
		if !errors.Is(err, ErrChanged) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
