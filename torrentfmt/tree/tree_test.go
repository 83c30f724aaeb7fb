package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// made is a tree over real files of these sizes, and what it should read as.
func made(t *testing.T, sizes ...int64) (*Tree, *Folder, []byte) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &Folder{Root: root, Flag: os.O_RDWR}
	var all []byte
	for i, n := range sizes {
		name := fmt.Sprintf("%03d", i)
		data := bytes.Repeat([]byte{byte(i + 1)}, int(n))
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		f.Paths, all = append(f.Paths, name), append(all, data...)
	}
	tr := New(sizes, f)
	t.Cleanup(func() {
		_ = tr.Close()
		_ = root.Close()
	})
	return tr, f, all
}

func TestPartsCoverEveryRangeOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(0, 5), 0, 8).Draw(rt, "sizes")
		tr := New(sizes, nil)
		total := int64(0)
		for _, n := range sizes {
			total += n
		}
		off := rapid.Int64Range(0, total).Draw(rt, "off")
		n := rapid.Int64Range(0, total+3).Draw(rt, "n")
		at := off
		for _, p := range tr.Parts(off, n) {
			begin := int64(0)
			for _, s := range sizes[:p.File] {
				begin += s
			}
			if p.Len < 1 || begin+p.Off != at || p.Off+p.Len > sizes[p.File] {
				rt.Fatalf("part %+v at %d of %v", p, at, sizes)
			}
			at += p.Len
		}
		if at != min(off+n, total) {
			rt.Fatalf("the parts end at %d of %v", at, sizes)
		}
	})
}

func TestReadsAndWritesCrossFiles(t *testing.T) {
	tr, f, want := made(t, 3, 0, 5, 1, 0)
	got := make([]byte, len(want))
	if n, err := tr.ReadAt(got, 0); n != len(want) || err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes %v, %v", n, got, err)
	}
	if n, err := tr.ReadAt(make([]byte, 4), 7); n != 2 || !errors.Is(err, io.EOF) {
		t.Fatalf("behind the end: %d, %v", n, err)
	}
	if n, err := tr.WriteAt([]byte("abcd"), 2); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	for name, want := range map[string]string{"000": "\x01\x01a", "001": "", "002": "bcd\x03\x03"} {
		got, err := os.ReadFile(filepath.Join(f.Root.Name(), name))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	if n, err := tr.WriteAt([]byte("abcd"), 6); n != 0 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("over the end: %d, %v", n, err)
	}
}

func TestFewFilesStayOpenWhateverTheTreeHas(t *testing.T) {
	sizes := slices.Repeat([]int64{1}, 5*maxOpen)
	tr, _, want := made(t, sizes...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range want {
				if _, err := tr.ReadAt(make([]byte, 1), int64(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(tr.open); n > maxOpen {
		t.Errorf("%d files are open", n)
	}
	tr.Rest()
	if n := len(tr.open); n != 0 {
		t.Errorf("%d files are open at rest", n)
	}
}

func TestAFileInUseOutlivesBeingForgotten(t *testing.T) {
	tr, f, _ := made(t, 2)
	file, release, err := tr.Acquire(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Root.Rename("000", "old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Root.Name(), "000"), []byte("xy"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr.Forget(0)
	if _, err := file.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("while in use: %v", err)
	}
	release()
	if _, err := file.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after its last use: %v", err)
	}
	got := make([]byte, 2)
	if _, err := tr.ReadAt(got, 0); err != nil || string(got) != "xy" {
		t.Errorf("the next user reads %q, %v", got, err)
	}
}

func TestNothingOutsideOrIrregularIsOpened(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "in")
	if err := os.MkdirAll(filepath.Join(inside, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"file": "../secret", "dir": ".."} {
		if err := os.Symlink(to, filepath.Join(inside, name)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f := &Folder{Root: root, Paths: []string{"file", "dir/secret", "folder", "../secret", "missing"}, Flag: os.O_RDONLY}
	for i, path := range f.Paths {
		if file, err := f.Open(i); err == nil {
			t.Errorf("%s was opened: %s", path, file.Name())
		}
	}
	if _, err := f.Open(4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestClosedTreeReadsNothing(t *testing.T) {
	tr, _, _ := made(t, 2)
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestFoldersComeBeforeWhatIsInThem(t *testing.T) {
	got := Folders([]string{"a", "b/c/d", "b/e", "f/g"})
	if want := []string{"b", "b/c", "f"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
