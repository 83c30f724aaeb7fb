package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/storage/disktest"
	"github.com/mtor-dev/mtor/roles/demo/process"
)

// regular lists the regular files at or under path.
func (s *swarm) regular(path string) (files []string) {
	s.Helper()
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return files
}

// fill leaves so many bytes of a small disk free, until free is called.
func (s *swarm) fill(disk string, left int64) (free func()) {
	s.Helper()
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, disktest.Free(s.T, disk)-left), 0o600); err != nil {
		s.Fatal(err)
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			s.Fatal(err)
		}
	}
}

// A download whose disk is full says so and waits; it goes on seeding what it
// has, as do the client's others, and goes on by itself when there is room.
func TestAFullDiskPausesADownloadAndNothingElse(t *testing.T) {
	disk := disktest.Mount(t, "24m")
	if disk == "" {
		return
	}
	for _, what := range []string{"file", "folder"} {
		for _, how := range []string{"while it runs", "before it starts"} {
			t.Run(what+" "+how, func(t *testing.T) {
				s := newSwarm(t)
				s.write("data/a", 12*pieceSize+9, 1)
				s.write("data/b", 12*pieceSize, 2)
				s.write("small", 1000, 3)
				sharer := s.client(10, "sharer", "--upload-limit", "2MiB")
				shared, same := "data/a", s.same
				if what == "folder" {
					shared, same = "data", s.sameFolder
				}
				sharer.do("share " + shared + " x.mtorrent")
				sharer.do("share small y.mtorrent")
				if err := os.Symlink(disk, s.path("disk")); err != nil {
					t.Fatal(err)
				}
				shown := s.reserve(s.ip(20))
				d := s.client(20, "downloader", "--metrics", shown)
				d.do("get x.mtorrent disk/copy")
				if !d.reaches(30) {
					t.Skip("the download was over before the disk could be filled")
				}

				// What the disk had room for is made less, as by a move of the .part
				// with a program that saves room.
				if how == "while it runs" {
					d.quit() // it is believed, and finds out when it writes
				} else {
					d.Kill() // it is checked, and finds out at once
				}
				for _, path := range s.regular(filepath.Join(disk, "copy.part")) {
					disktest.Sparse(t, path)
				}
				free := s.fill(disk, pieceSize)
				d.start()
				d.awaitLine(" paused (disk full: ")
				line := regexp.MustCompile(`^\[!\] \w+ \d+% paused \(disk full: .*copy\.part.*: it goes on when there is\)$`)
				if got := d.do("show downloads"); !line.MatchString(got) {
					t.Errorf("show downloads says %q", got)
				}
				s.logs("downloader.log", `level=WARN msg="download paused`)
				if n := s.metric(shown, `mtor_client_downloads{state="no_room"}`); n != 1 {
					t.Errorf("%v downloads are counted as without room", n)
				}
				if why := d.refuses("get x.mtorrent disk/copy"); !strings.Contains(why, "disk full") {
					t.Errorf("get on a full disk says %q", why)
				}
				if _, err := os.Lstat(filepath.Join(disk, "copy")); err == nil {
					t.Error("an unfinished download stands under its final name")
				}

				// Nothing else suffers: another download, and those who want what
				// has come.
				d.do("get y.mtorrent copy-of-small")
				s.until("the other download to be complete", func() bool { return s.exists("copy-of-small") })
				s.same("small", "copy-of-small")
				has := s.goodPieces("x.mtorrent", filepath.Join(disk, "copy.part"))
				if has == 0 {
					t.Fatal("there is nothing to seed")
				}
				sharer.quit()
				other := s.client(21, "other")
				other.do("get x.mtorrent other-copy")
				s.until("the other client to have what the paused one has", func() bool {
					return s.goodPieces("x.mtorrent", s.path("other-copy.part")) >= has
				})

				sharer.start()
				free()
				d.do("wait")
				same(shared, "disk/copy")
				other.do("wait")
				same(shared, "other-copy")
				d.do("remove x.mtorrent")
				if err := os.RemoveAll(filepath.Join(disk, "copy")); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func TestADiskThatIsTooSmallRefusesTheGetInOneLineAndKeepsNothing(t *testing.T) {
	disk := disktest.Mount(t, "4m")
	if disk == "" {
		return
	}
	s := newSwarm(t)
	s.write("data/a", 6*pieceSize, 1)
	s.write("data/b", 6*pieceSize, 2)
	s.write("large", 9*pieceSize, 3)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	sharer.do("share large y.mtorrent")
	d := s.client(20, "downloader")
	for mtorrent, lacks := range map[string]string{"x": "2.0 MiB", "y": "512 KiB"} {
		part := filepath.Join(disk, mtorrent+".part")
		said := d.refuses("get " + mtorrent + ".mtorrent " + filepath.Join(disk, mtorrent))
		if want := "get : disk full: " + part + " needs " + lacks + " more than there is room for"; said != want {
			t.Errorf("got %q, want %q", said, want)
		}
	}
	if left, err := os.ReadDir(disk); err != nil || len(left) > 0 {
		t.Errorf("%v, %v is left", err, left)
	}
	if line := d.do("show downloads"); line != "no downloads" {
		t.Errorf("show downloads says %q", line)
	}
}

func TestAStateFolderOnAFullDiskEndsNothing(t *testing.T) {
	disk := disktest.Mount(t, "4m")
	if disk == "" {
		return
	}
	s := newSwarm(t)
	s.write("data", 40*pieceSize, 1)
	sharer := s.client(10, "sharer", "--upload-limit", "8MiB")
	sharer.do("share data x.mtorrent")
	d := s.client(20, "downloader", "--state", filepath.Join(disk, "state"))
	d.do("get x.mtorrent copy")
	free := s.fill(disk, 0)
	count, share := 1, ""
	for why := ""; why == ""; count++ { // the library's file has some room in itself
		other := fmt.Sprint("other-", count)
		s.write(other, 1000+int64(count), 2)
		share = "share " + other + " " + other + ".mtorrent"
		_, err := d.Ask(s.ctx, share)
		var refusal *process.Refusal
		switch {
		case errors.As(err, &refusal):
			if why = refusal.Said; !strings.HasPrefix(why, "share : ") || !strings.Contains(why, "no room is left on the disk") {
				t.Errorf("%q says %q", share, why)
			}
			if s.exists(other + ".mtorrent") {
				t.Error("a share that failed leaves its .mtorrent")
			}
		case err != nil:
			t.Fatal(err)
		case count > 1000:
			t.Fatal("a full disk takes all that is shared")
		}
	}
	d.do("wait")
	s.same("data", "copy")
	s.allList(s.id("x.mtorrent"), whole(sharer, d)...)
	free()
	d.do(share)
	if err := d.Type("quit"); err != nil {
		t.Fatal(err)
	}
	s.ends(d.Process) // with code 1: a command had failed
	d.start()
	s.until("all to be seeded", func() bool {
		lines, err := d.AskLines(s.ctx, "show downloads", count)
		return err == nil && !slices.ContainsFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "[S] ") })
	})
}
