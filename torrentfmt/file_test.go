package torrentfmt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func testTorrent(t testing.TB) *Torrent {
	t.Helper()
	got, err := Parse([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWriteFileThenOpen(t *testing.T) {
	dir := t.TempDir()
	// The temporary name must fit where only the final one just does.
	path := filepath.Join(dir, strings.Repeat("n", MaxNameLen-len(Ext))+Ext)
	want := testTorrent(t)
	if reused, err := WriteFile(path, want); reused || err != nil {
		t.Fatalf("reused %v, %v", reused, err)
	}
	got, err := Open(path)
	if err != nil || !got.Equal(want) {
		t.Errorf("opened %+v, %v", got, err)
	}
	onlyFile(t, path)
}

// onlyFile fails when anything but path is left in its folder.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("the folder holds %v", entries)
	}
}

func TestWriteFileReusesWhatSaysTheSame(t *testing.T) {
	for what, content := range map[string]string{
		"same bytes":       valid,
		"another spelling": strings.Join(strings.Fields(valid), " ") + "\n\n",
	} {
		if what == "another spelling" {
			content = strings.Replace(content, `"disk image`, `"\u0064isk image`, 1)
		}
		t.Run(what, func(t *testing.T) {
			path := testFile(t, "a.mtorrent", []byte(content))
			if reused, err := WriteFile(path, testTorrent(t)); !reused || err != nil {
				t.Fatalf("reused %v, %v", reused, err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != content {
				t.Errorf("the file became %q, %v", now, err)
			}
			onlyFile(t, path)
		})
	}
}

func TestWriteFileLeavesWhatSaysSomethingElse(t *testing.T) {
	for what, content := range map[string]string{
		"another torrent":   strings.Replace(valid, "10.0.0.1", "10.0.0.9", 1),
		"no .mtorrent":      "my notes\n",
		"an empty file":     "",
		"a cut .mtorrent":   valid[:100],
		"a newer .mtorrent": `{"mtorrent": 2}`,
	} {
		t.Run(what, func(t *testing.T) {
			path := testFile(t, "a.mtorrent", []byte(content))
			reused, err := WriteFile(path, testTorrent(t))
			wantExists(t, reused, err, path)
			if now, err := os.ReadFile(path); err != nil || string(now) != content {
				t.Errorf("the file became %q, %v", now, err)
			}
			onlyFile(t, path)
		})
	}
}

func wantExists(t *testing.T, reused bool, err error, path string) {
	t.Helper()
	var exists *ExistsError
	if reused || !errors.As(err, &exists) || !errors.Is(err, fs.ErrExist) || exists.Path != path {
		t.Errorf("got reused %v, %v; want an ExistsError for %s", reused, err, path)
	}
	if err != nil && strings.Count(err.Error(), path) < 1 {
		t.Errorf("%q does not name the path", err)
	}
}

func TestWriteFileLeavesFoldersAndLinksAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mtorrent")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	reused, err := WriteFile(path, testTorrent(t))
	wantExists(t, reused, err, path)
	onlyFile(t, path)

	path = filepath.Join(t.TempDir(), "b.mtorrent")
	if err := os.Symlink("nowhere", path); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	reused, err = WriteFile(path, testTorrent(t))
	wantExists(t, reused, err, path)
	onlyFile(t, path)
}

// TestOneOfManyWritersWins holds WriteFile to its promise under a race: the
// file says what its one winner wrote, and each loser was told.
func TestOneOfManyWritersWins(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "a.mtorrent")
		const writers = 8
		var torrents [writers]*Torrent
		var reused [writers]bool
		var errs [writers]error
		var wg sync.WaitGroup
		for i := range writers {
			u := *testTorrent(t)
			u.Name = string(rune('a' + i/2)) // each said by two
			torrents[i] = &u
			wg.Go(func() { reused[i], errs[i] = WriteFile(path, &u) })
		}
		wg.Wait()
		got, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		wrote := 0
		for i, err := range errs {
			same := torrents[i].Equal(got)
			if same != (err == nil) {
				t.Errorf("writer of %q: %v, but the file says %q", torrents[i].Name, err, got.Name)
			}
			if !same {
				wantExists(t, reused[i], err, path)
			}
			if err == nil && !reused[i] {
				wrote++
			}
		}
		if wrote != 1 {
			t.Errorf("%d writers say that they wrote it", wrote)
		}
		onlyFile(t, path)
	}
}

func TestWithoutHardLinksATakenNameIsRefused(t *testing.T) {
	path := testFile(t, "a", []byte("mine"))
	temp := testFile(t, "temp", []byte("new"))
	if err := claim(temp, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != "mine" {
		t.Errorf("the file became %q, %v", now, err)
	}
}

func TestWithoutHardLinksAFreeNameIsTaken(t *testing.T) {
	temp := testFile(t, "temp", []byte("new"))
	path := filepath.Join(filepath.Dir(temp), "a")
	if err := claim(temp, path); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != "new" {
		t.Errorf("the file is %q, %v", now, err)
	}
	onlyFile(t, path)
	if err := claim(temp, path+"2"); err == nil {
		t.Error("claimed a name for a file that is gone")
	}
	onlyFile(t, path)
}

func TestWriteFileToAMissingFolderNamesThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "a.mtorrent")
	_, err := WriteFile(path, testTorrent(t))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestWriteFileRefusesABadTorrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mtorrent")
	bad := testTorrent(t)
	bad.Size = -1
	var fieldErr *FieldError
	if _, err := WriteFile(path, bad); !errors.As(err, &fieldErr) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestOpenRefusesAHugeFileUnread(t *testing.T) {
	path := testFile(t, "a.mtorrent", nil)
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip("no sparse file of 1 TiB here:", err)
	}
	var fieldErr *FieldError
	if _, err := Open(path); !errors.As(err, &fieldErr) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestAFolderIsRefused(t *testing.T) {
	wantNotRegular(t, t.TempDir(), "a folder")
}

// wantNotRegular holds all that opens files to refusing path with a word.
func wantNotRegular(t *testing.T, path, word string) {
	t.Helper()
	_, err := Open(path)
	_, err2 := Create(t.Context(), path, testTrackers, nil)
	for _, err := range []error{err, err2} {
		if !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want a word of %s", err, word)
		}
	}
}
