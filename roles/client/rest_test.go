package client

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// pair is a client that shares a file and one that gets it, slowly.
type pair struct {
	network  transport.Transport
	dir      string
	seeder   *Client
	getter   *Client
	end      func() // of the getter
	mtorrent string
	dest     string
	data     []byte
}

const slowRate = 4 * torrentfmt.PieceSize // a second

// halfway is a pair of which the getter has a piece and by far not all.
func halfway(t *testing.T) *pair {
	t.Helper()
	p := &pair{network: transporttest.Memory(), dir: t.TempDir()}
	p.mtorrent, p.dest = filepath.Join(p.dir, "x.mtorrent"), filepath.Join(p.dir, "to", "copy")
	if err := os.Mkdir(filepath.Dir(p.dest), 0o700); err != nil {
		t.Fatal(err)
	}
	p.seeder, _ = start(t, p.network, filepath.Join(p.dir, "seeder"))
	p.data = makeFile(t, filepath.Join(p.dir, "file"), 60*torrentfmt.PieceSize+1)
	if _, err := p.seeder.Share(t.Context(), filepath.Join(p.dir, "file"), p.mtorrent, nil); err != nil {
		t.Fatal(err)
	}
	p.begin(t)
	p.slow(t, slowRate)
	if _, err := p.getter.Get(t.Context(), p.mtorrent, p.dest); err != nil {
		t.Fatal(err)
	}
	p.meet(t)
	until(t, func() bool { return only(t, p.getter).Done > 0 })
	return p
}

func (p *pair) begin(t *testing.T) {
	t.Helper()
	p.getter, p.end = start(t, p.network, filepath.Join(p.dir, "getter"))
}

func (p *pair) slow(t *testing.T, rate int64) {
	t.Helper()
	if _, err := p.getter.SetLimits(t.Context(), "", control.LimitChange{Down: &rate}); err != nil {
		t.Fatal(err)
	}
}

// meet does what a tracker would.
func (p *pair) meet(t *testing.T) {
	t.Helper()
	of := id(t, p.mtorrent)
	until(t, func() bool { // the first try may fall into the pause after one that failed
		p.getter.peers.reach(p.seeder.Addr(), peer.ID{}, of)
		list, err := p.getter.Peers(t.Context(), p.mtorrent)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) > 0
	})
}

func (p *pair) finish(t *testing.T) {
	t.Helper()
	p.slow(t, 0)
	of := id(t, p.mtorrent)
	until(t, func() bool { // a session of before a pause may still be listed, and end
		p.getter.peers.reach(p.seeder.Addr(), peer.ID{}, of)
		return only(t, p.getter).Whole()
	})
	awaitDownloads(t, p.getter)
	sameFile(t, only(t, p.getter).Path, p.data)
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatal("it never came")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestPausedDownloadStaysSoOverARestartAndGoesOnWithWhatItHas(t *testing.T) {
	p := halfway(t)
	paused, err := p.getter.Pause(t.Context(), "x.mtorrent")
	if err != nil || paused.State != control.Paused || paused.Done == 0 || paused.Done == paused.Size || paused.Peers != 0 {
		t.Fatalf("paused: %+v, %v", paused, err)
	}
	if _, ok := p.getter.Local(id(t, p.mtorrent)); ok {
		t.Error("it is served")
	}
	if list, err := p.getter.Wait(t.Context(), patience); err != nil || len(list) != 0 {
		t.Errorf("wait takes it for one that runs: %v, %v", list, err)
	}
	p.end()
	p.begin(t)
	until(t, func() bool { return only(t, p.getter).Size > 0 && only(t, p.getter).Name == "file" })
	again := only(t, p.getter)
	if again.State != control.Paused || again.Done != paused.Done {
		t.Fatalf("after the restart %+v, before it %+v", again, paused)
	}
	p.slow(t, slowRate)
	on, err := p.getter.Resume(t.Context(), paused.ID)
	if err != nil || on.State != control.Downloading || on.Done != paused.Done {
		t.Fatalf("resumed: %+v, %v", on, err)
	}
	p.finish(t)
}

func TestPausedSeederServesNothingUntilItIsResumed(t *testing.T) {
	p := halfway(t)
	if d, err := p.seeder.Pause(t.Context(), "file"); err != nil || d.State != control.Paused || !d.Whole() {
		t.Fatalf("%+v, %v", d, err)
	}
	until(t, func() bool { return only(t, p.getter).Peers == 0 })
	if _, err := p.seeder.Pause(t.Context(), "file"); err != nil {
		t.Errorf("paused twice: %v", err)
	}
	for range 2 {
		if d, err := p.seeder.Resume(t.Context(), "file"); err != nil || d.State != control.Seeding {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	p.finish(t)
}

func TestPausedDownloadThatNothingCameForLeavesNothingWhenItIsRemoved(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, _ := start(t, network, filepath.Join(dir, "state"))
	makeFile(t, filepath.Join(dir, "file"), 1000)
	x, err := torrentfmt.Create(t.Context(), filepath.Join(dir, "file"), [2]string{"127.0.0.1:1", "127.0.0.1:2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mtorrent, dest := filepath.Join(dir, "x.mtorrent"), filepath.Join(dir, "copy")
	if _, err := torrentfmt.WriteFile(mtorrent, x); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), mtorrent, dest); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pause(t.Context(), mtorrent); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Remove(t.Context(), mtorrent); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(storage.PartPath(dest)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its .part: %v, want that it is gone", err)
	}
}

func TestResumeOfAFileThatIsGoneSaysSoAndStaysPaused(t *testing.T) {
	p := halfway(t)
	if _, err := p.seeder.Pause(t.Context(), "file"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(p.dir, "file"), filepath.Join(p.dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.seeder.Resume(t.Context(), "file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if d := only(t, p.seeder); d.State != control.Paused {
		t.Errorf("it is %+v", d)
	}
	if d, err := p.seeder.Relocate(t.Context(), "file", filepath.Join(p.dir, "moved"), nil); err != nil || d.State != control.Paused {
		t.Errorf("relocated: %+v, %v", d, err)
	}
	if d, err := p.seeder.Resume(t.Context(), "file"); err != nil || d.State != control.Seeding || d.Path != filepath.Join(p.dir, "moved") {
		t.Errorf("resumed: %+v, %v", d, err)
	}
}

func TestRelocatedSeederServesTheFileAtItsNewPlaceAndAWrongOneChangesNothing(t *testing.T) {
	p := halfway(t)
	old, folder := filepath.Join(p.dir, "file"), filepath.Join(p.dir, "new")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(p.dir, "wrong")
	if err := os.WriteFile(wrong, make([]byte, len(p.data)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{wrong, folder, filepath.Join(p.dir, "nowhere")} {
		if _, err := p.seeder.Relocate(t.Context(), "file", path, nil); err == nil {
			t.Errorf("%s was taken", path)
		}
		if d := only(t, p.seeder); d.State != control.Seeding || d.Path != old {
			t.Errorf("after that: %+v", d)
		}
	}
	if err := os.Rename(old, filepath.Join(folder, "file")); err != nil {
		t.Fatal(err)
	}
	var told int64
	d, err := p.seeder.Relocate(t.Context(), "file", folder, func(done, _ int64) { told = done })
	if err != nil || d.State != control.Seeding || d.Path != filepath.Join(folder, "file") {
		t.Fatalf("%+v, %v", d, err)
	}
	if told != int64(len(p.data)) {
		t.Errorf("told of %d bytes, want all", told)
	}
	p.finish(t)
}

func TestRelocatedDownloadGoesOnWithItsPart(t *testing.T) {
	p := halfway(t)
	folder := filepath.Join(p.dir, "new")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// Nothing there yet: it goes on where it is.
	if _, err := p.getter.Relocate(t.Context(), "x.mtorrent", filepath.Join(folder, "copy"), nil); err == nil {
		t.Fatal("relocated to where nothing is")
	}
	if d := only(t, p.getter); d.State != control.Downloading || d.Path != p.dest || d.Done == 0 {
		t.Fatalf("after that: %+v", d)
	}
	if err := os.Rename(storage.PartPath(p.dest), storage.PartPath(filepath.Join(folder, "copy"))); err != nil {
		t.Fatal(err)
	}
	d, err := p.getter.Relocate(t.Context(), "x.mtorrent", filepath.Join(folder, "copy"), nil)
	if err != nil || d.State != control.Downloading || d.Done == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	p.finish(t)
	if only(t, p.getter).Path != filepath.Join(folder, "copy") {
		t.Errorf("it is %+v", only(t, p.getter))
	}
}

func TestRelocatedPartMustHoldWhatTheDownloadHas(t *testing.T) {
	p := halfway(t)
	elsewhere := filepath.Join(p.dir, "elsewhere")
	first := torrentfmt.PieceSize // the last piece comes too late for this to be all
	if err := os.WriteFile(storage.PartPath(elsewhere), p.data[:first], 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return only(t, p.getter).Done > int64(2*first) })
	_, err := p.getter.Relocate(t.Context(), "x.mtorrent", elsewhere, nil)
	if err == nil || !strings.Contains(err.Error(), " lacks ") {
		t.Errorf("got %v", err)
	}
	if d := only(t, p.getter); d.Path != p.dest || d.State != control.Downloading {
		t.Errorf("after that: %+v", d)
	}
	p.finish(t)
}

func TestRelocatedFolderIsHeldAgainstAllItsFiles(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, _ := start(t, network, filepath.Join(dir, "state"))
	old, moved := filepath.Join(dir, "set"), filepath.Join(dir, "disk", "set")
	for _, d := range []string{filepath.Join(old, "sub"), filepath.Join(dir, "disk")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	makeFile(t, filepath.Join(old, "a"), 1000)
	data := makeFile(t, filepath.Join(old, "sub", "b"), torrentfmt.PieceSize)
	if _, err := c.Share(t.Context(), old, filepath.Join(dir, "x.mtorrent"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, moved); err != nil {
		t.Fatal(err)
	}
	b := filepath.Join(moved, "sub", "b")
	if err := os.WriteFile(b, make([]byte, len(data)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Relocate(t.Context(), "set", filepath.Dir(moved), nil); err == nil {
		t.Error("a folder with a wrong file was taken")
	}
	if err := os.WriteFile(b, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Relocate(t.Context(), "set", filepath.Dir(moved), nil); err != nil || d.Path != moved || d.State != control.Seeding {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestPeersSayWhoHasAndGaveWhat(t *testing.T) {
	p := halfway(t)
	list, err := p.getter.Peers(t.Context(), "x.mtorrent")
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	got := list[0]
	if got.Addr != p.seeder.Addr().String() || got.Pieces != 61 || got.Of != 61 || got.Received == 0 || got.Transport == "" || len(got.Node) != 40 {
		t.Errorf("the getter's peer: %+v", got)
	}
	until(t, func() bool { return only(t, p.seeder).Sent > 0 })
	list, err = p.seeder.Peers(t.Context(), "file")
	if err != nil || len(list) != 1 || list[0].Received != 0 || list[0].Dialled == got.Dialled {
		t.Errorf("the seeder's peers: %+v, %v", list, err)
	}
	until(t, func() bool {
		list, err := p.seeder.Peers(t.Context(), "file")
		return err == nil && len(list) == 1 && list[0].UpRate > 0
	})
	if _, err := p.seeder.Peers(t.Context(), "nothing"); !errors.Is(err, control.ErrUnknown) {
		t.Errorf("of none: %v", err)
	}
}

func TestTorrentThatWasSeededEnoughIsPausedUntilItIsResumed(t *testing.T) {
	p := halfway(t)
	if _, err := p.seeder.SeedUntil(t.Context(), "file", control.SeedGoal{Ratio: 0.5}); err != nil {
		t.Fatal(err)
	}
	p.slow(t, 0)
	until(t, func() bool { return only(t, p.seeder).State == control.Paused })
	d := only(t, p.seeder)
	if d.Sent < d.Size/2 || d.SeedUntil == nil || d.Note == "" {
		t.Errorf("paused as %+v", d)
	}
	if d, err := p.seeder.Resume(t.Context(), "file"); err != nil || d.SeedUntil != nil || d.State != control.Seeding {
		t.Errorf("resumed: %+v, %v", d, err)
	}
	p.finish(t)
	for _, goal := range []control.SeedGoal{{Ratio: -1}, {Seconds: -1}, {Seconds: 1e300}} {
		if _, err := p.seeder.SeedUntil(t.Context(), "file", goal); err == nil {
			t.Errorf("%+v was taken", goal)
		}
	}
}

func TestTimeOfSeedingCountsOnceAllIsThere(t *testing.T) {
	p := halfway(t)
	for _, c := range []*Client{p.seeder, p.getter} {
		if _, err := c.SeedUntil(t.Context(), p.mtorrent, control.SeedGoal{Seconds: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.getter.seeded(9 * time.Second); len(got) != 0 {
		t.Error("an unfinished download has been seeded enough")
	}
	if got := p.seeder.seeded(10 * time.Second); len(got) != 1 {
		t.Error("it has not been seeded enough")
	}
	p.end()
	p.begin(t)
	until(t, func() bool {
		return only(t, p.getter).State == control.Downloading
	})
	if d := only(t, p.getter); d.SeedUntil == nil || d.SeedUntil.Seconds != 10 {
		t.Errorf("after a restart: %+v", d)
	}
}

func TestPauseDoesNotWaitForACheckThatIsUnderWay(t *testing.T) {
	p := halfway(t)
	p.end()
	// Another time: the file is verified anew at the start.
	when := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(storage.PartPath(p.dest), when, when); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		p.begin(t)
		if d, err := p.getter.Pause(t.Context(), "x.mtorrent"); err != nil || d.State != control.Paused {
			t.Fatalf("%+v, %v", d, err)
		}
		p.end()
		p.begin(t)
		if d, err := p.getter.Resume(t.Context(), "x.mtorrent"); err != nil || d.State != control.Downloading || d.Done == 0 {
			t.Fatalf("%+v, %v", d, err)
		}
		p.end()
	}
}

func TestStatusSumsUpTheLibrary(t *testing.T) {
	p := halfway(t)
	if _, err := p.seeder.Pause(t.Context(), "file"); err != nil {
		t.Fatal(err)
	}
	s, err := p.seeder.Status(t.Context())
	if err != nil || s.Torrents[control.Paused] != 1 || s.Torrents[control.Seeding] != 0 || len(s.Torrents) != len(control.States) {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Addr != p.seeder.Addr().String() || s.PID != os.Getpid() || s.StateDir != filepath.Join(p.dir, "seeder") || len(s.Trackers) != 1 {
		t.Errorf("%+v", s)
	}
}
