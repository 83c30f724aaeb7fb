package e2e

import (
	"os"
	"strings"
	"testing"
)

func TestKilledDownloaderGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newSwarm(t)
	s.write("data", bigSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	d := s.client(20, "downloader", "--transport", "quic")
	d.do("get x.mtorrent copy")
	caught := d.reaches(40)
	d.Kill()
	if caught && s.exists("copy") {
		t.Error("an unfinished file stands under its final name")
	}
	// With its source away, what it still has shows.
	sharer.quit()
	d.start()
	if caught {
		// At most the pieces in flight and what the disk had not taken are
		// lost.
		d.reaches(20)
		d.shows("[D] data")
	} else {
		t.Log("the download was over before it was killed")
	}
	sharer.start()
	d.do("wait")
	s.same("data", "copy")
	d.shows("[S] data")
	s.allList(s.id("x.mtorrent"), whole(sharer, d)...)
}

func TestRestartKeepsTheLibrary(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	s.write("other", 2000, 2)
	c := s.client(10, "client")
	c.do("share data x.mtorrent")
	c.do("share other y.mtorrent")
	x, y := s.id("x.mtorrent"), s.id("y.mtorrent")
	s.allList(x, whole(c)...)
	c.quit()
	s.allList(x)
	s.allList(y)
	c.start()
	s.allList(x, whole(c)...)
	s.allList(y, whole(c)...)
	c.shows("[S] data", "[S] other")
}

func TestChangedFileIsNotSeededAfterARestart(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	c := s.client(10, "client")
	c.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(c)...)
	c.quit()
	s.allList(id)
	s.write("data", 3*pieceSize, 2)
	s.write("other", 10, 3)
	c.start()
	c.do("share other y.mtorrent") // announced: so the first has had its turn
	s.allList(s.id("y.mtorrent"), whole(c)...)
	s.allList(id)
	lines, err := c.AskLines(s.ctx, "show downloads", 2)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(lines[0], "[S]") {
		t.Errorf("a file that was changed is shown as %q", lines[0])
	}
	c.do("remove x.mtorrent")
	c.shows("[S] other")
}

func TestSeededFileThatIsGoneIsNamedInTheLogWithWhatToDo(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	c := s.client(10, "client")
	c.do("share data x.mtorrent")
	s.allList(s.id("x.mtorrent"), whole(c)...)
	if err := os.Rename(s.path("data"), s.path("away")); err != nil {
		t.Fatal(err)
	}
	d := s.client(11, "downloader")
	d.do("get x.mtorrent copy") // so that it is looked for
	s.logs("client.log", `msg="seeded file is gone or changed: its torrent is no longer offered" name=data`, s.path("data")+": piece ",
		": the file is gone", "put the right file there and resume the torrent, or remove it")
	c.quit()
	c.start()
	s.logs("client.log", `msg="torrent no longer offered" name=data`,
		s.path("data")+": there is no such file or folder: put it back and resume the torrent, relocate it if it was moved, or remove it")
	if log := string(s.text("client.log")); strings.Contains(log, "stat ") || strings.Contains(log, "statat") || strings.Contains(log, "open ") {
		t.Errorf("a system call is named:\n%s", log)
	}
	c.do("relocate x.mtorrent away") // as the log says
	d.do("wait --timeout 60s")
	s.same("away", "copy")
}

func TestForeignFileAtTheDestinationIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	d := s.client(20, "downloader")
	for name, size := range map[string]int64{"same-size": 3 * pieceSize, "shorter": 10, "empty": 0, "longer": 4 * pieceSize} {
		s.write(name, size, 9)
		s.write(name+"-before", size, 9)
		d.refuses("get x.mtorrent " + name)
		s.same(name+"-before", name)
		if s.exists(name + ".part") {
			t.Errorf("the refused get leaves %s.part", name)
		}
	}
	d.do("get x.mtorrent copy")
	d.do("wait")
	s.same("data", "copy")
}

func TestWholeFileAtTheDestinationIsAdopted(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 3*pieceSize, 1)
	s.write("copy", 3*pieceSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	d := s.client(20, "downloader")
	d.do("get x.mtorrent copy")
	d.shows("[S] data")
	s.allList(s.id("x.mtorrent"), whole(sharer, d)...)
}

func TestExistingFolderAsDestinationKeepsTheFilename(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", pieceSize+1, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	if err := os.Mkdir(s.path("folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := s.client(20, "downloader")
	d.do("get x.mtorrent folder")
	d.do("wait")
	s.same("data", "folder/data")
}

func TestSecondClientOnTheSameStateIsRefused(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	first := s.client(10, "client")
	first.do("share data x.mtorrent")
	second := s.spawn("second", s.clientArgs(10, "client")...)
	_, stderr, code := s.ends(second)
	said := strings.Join(stderr, "\n")
	if code != 1 || !strings.Contains(said, "error: ") || !strings.Contains(said, "client.state") {
		t.Errorf("the second client ends with code %d and says %q", code, said)
	}
	first.shows("[S] data")
}
