package client

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) {
	// What runs in parallel here waits rather than works.
	if err := flag.Set("test.parallel", "100"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// start runs a client on an in-memory network on which no tracker listens.
// The returned function ends it in order.
func start(t *testing.T, network transport.Transport, state string, set ...func(*Options)) (*Client, func()) {
	t.Helper()
	table := transport.Table{network}
	o := Options{
		Addr: "127.0.0.1:0", Trackers: []string{"127.0.0.1:1", "127.0.0.1:2"}, StateDir: state,
		Listen: table, Dial: table, Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range set {
		f(&o)
	}
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- c.Run(context.Background()) }()
	ended := false
	end := func() {
		if ended {
			return
		}
		ended = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(c.Quit(ctx), <-ran); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return c, end
}

func makeFile(t *testing.T, path string, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data
}

func awaitDownloads(t *testing.T, c *Client) {
	t.Helper()
	if list, err := c.Wait(t.Context(), patience); err != nil {
		t.Fatalf("%v: %+v", err, list)
	}
}

func only(t *testing.T, c *Client) control.Download {
	t.Helper()
	list, err := c.Downloads(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%d torrents (%v), want one", len(list), err)
	}
	return list[0]
}

func id(t *testing.T, mtorrent string) torrentfmt.ID {
	t.Helper()
	x, err := torrentfmt.Open(mtorrent)
	if err != nil {
		t.Fatal(err)
	}
	return x.ID()
}

func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from the original", path)
	}
}

func TestTwoThatDialEachOtherKeepOneSessionAndBothBecomeWhole(t *testing.T) {
	network := transporttest.Memory()
	for round := range 10 {
		dir := t.TempDir()
		a, endA := start(t, network, filepath.Join(dir, "a"))
		b, endB := start(t, network, filepath.Join(dir, "b"))
		// Each has one file and wants the other's.
		files, torrents := [2]string{filepath.Join(dir, "0"), filepath.Join(dir, "1")}, [2]string{}
		var data [2][]byte
		for i, c := range []*Client{a, b} {
			data[i] = makeFile(t, files[i], 3*torrentfmt.PieceSize+i+round)
			torrents[i] = filepath.Join(dir, fmt.Sprint(i, ".mtorrent"))
			if _, err := c.Share(t.Context(), files[i], torrents[i], nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Get(t.Context(), torrents[1], filepath.Join(dir, "got 1")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Get(t.Context(), torrents[0], filepath.Join(dir, "got 0")); err != nil {
			t.Fatal(err)
		}
		go a.peers.reach(b.Addr(), peer.ID{}, id(t, torrents[1]))
		go b.peers.reach(a.Addr(), peer.ID{}, id(t, torrents[0]))
		awaitDownloads(t, a)
		awaitDownloads(t, b)
		sameFile(t, filepath.Join(dir, "got 0"), data[0])
		sameFile(t, filepath.Join(dir, "got 1"), data[1])
		for name, c := range map[string]*Client{"a": a, "b": b} {
			c.peers.mu.Lock()
			if n := len(c.peers.byID); n != 1 {
				t.Errorf("round %d: %s keeps %d sessions with its peer, want 1", round, name, n)
			}
			c.peers.mu.Unlock()
		}
		endA()
		endB()
	}
}

func TestTheLibrarySurvivesARestart(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, end := start(t, network, filepath.Join(dir, "state"))
	makeFile(t, filepath.Join(dir, "file"), 1000)
	before, err := c.Share(t.Context(), filepath.Join(dir, "file"), filepath.Join(dir, "x.mtorrent"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if before.Note == "" {
		t.Error("no warning that no tracker could be told")
	}
	end()
	c, _ = start(t, network, filepath.Join(dir, "state"))
	awaitState(t, c, control.Seeding)
	if d := only(t, c); d.Name != before.Name || d.Path != before.Path || d.Mtorrent != before.Mtorrent {
		t.Errorf("after the restart %+v, before %+v", d, before)
	}
	if _, ok := c.Local(id(t, before.Mtorrent)); !ok {
		t.Error("it is not served")
	}
}

func awaitState(t *testing.T, c *Client, want control.State) {
	t.Helper()
	deadline := time.After(patience)
	for {
		d := only(t, c)
		if d.State == want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%+v, want %s", d, want)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWhatIsMissingOrChangedAtStartIsKeptAndNotServed(t *testing.T) {
	for name, harm := range map[string]func(file, mtorrent string) error{
		"file gone":        func(file, _ string) error { return os.Remove(file) },
		"file changed":     func(file, _ string) error { return os.WriteFile(file, make([]byte, 1000), 0o600) },
		"file shorter":     func(file, _ string) error { return os.Truncate(file, 999) },
		"mtorrent gone":    func(_, mtorrent string) error { return os.Remove(mtorrent) },
		"mtorrent changed": func(_, mtorrent string) error { return os.WriteFile(mtorrent, []byte("{}"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			network, dir := transporttest.Memory(), t.TempDir()
			file, mtorrent := filepath.Join(dir, "file"), filepath.Join(dir, "x.mtorrent")
			c, end := start(t, network, filepath.Join(dir, "state"))
			makeFile(t, file, 1000)
			if _, err := c.Share(t.Context(), file, mtorrent, nil); err != nil {
				t.Fatal(err)
			}
			end()
			if err := harm(file, mtorrent); err != nil {
				t.Fatal(err)
			}
			c, _ = start(t, network, filepath.Join(dir, "state"))
			awaitState(t, c, control.Missing)
			if d := only(t, c); !strings.Contains(d.Note, dir) || strings.Contains(name, "file") && !strings.Contains(d.Note, "resume the torrent") {
				t.Errorf("it does not say what is wrong, and what to do: %q", d.Note)
			}
			c.mu.Lock()
			served := len(c.running)
			c.mu.Unlock()
			if served != 0 {
				t.Error("it is served")
			}
			if _, err := c.Remove(t.Context(), "x.mtorrent"); err != nil {
				t.Errorf("remove: %v", err)
			}
			if list, _ := c.Downloads(t.Context()); len(list) != 0 {
				t.Errorf("after remove: %+v", list)
			}
		})
	}
}

func TestSharingTwiceIsOneTorrentAndAnotherUnderItsNameIsRefused(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, _ := start(t, network, filepath.Join(dir, "state"))
	file, other, mtorrent := filepath.Join(dir, "file"), filepath.Join(dir, "other"), filepath.Join(dir, "x.mtorrent")
	makeFile(t, file, 1000)
	makeFile(t, other, 1001)
	for range 2 {
		if _, err := c.Share(t.Context(), file, mtorrent, nil); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(mtorrent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Share(t.Context(), other, mtorrent, nil); err == nil {
		t.Error("another file was shared under the same .mtorrent")
	}
	sameFile(t, mtorrent, was)
	only(t, c)
}

func TestRemoveKeepsTheFileAndDeletesTheMtorrent(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, _ := start(t, network, filepath.Join(dir, "state"))
	file, mtorrent := filepath.Join(dir, "file"), filepath.Join(dir, "x.mtorrent")
	data := makeFile(t, file, 1000)
	if _, err := c.Share(t.Context(), file, mtorrent, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Remove(t.Context(), "x.mtorrent"); err != nil {
		t.Fatal(err)
	}
	sameFile(t, file, data)
	if _, err := os.Stat(mtorrent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the .mtorrent: %v, want that it is gone", err)
	}
	if _, err := c.Remove(t.Context(), "x.mtorrent"); err == nil {
		t.Error("removed twice")
	}
}

func TestARemovedDownloadThatNothingCameForLeavesNothing(t *testing.T) {
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
	if _, err := c.Wait(t.Context(), time.Millisecond); !errors.Is(err, control.ErrUnfinished) {
		t.Errorf("wait: %v, want ErrUnfinished", err)
	}
	left, err := c.Remove(t.Context(), mtorrent)
	if err != nil || left != (control.Removed{}) {
		t.Errorf("left %+v, %v", left, err)
	}
	for _, path := range []string{mtorrent, dest, storage.PartPath(dest)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that it is gone", path, err)
		}
	}
	if list, err := c.Wait(t.Context(), time.Minute); err != nil || len(list) != 0 {
		t.Errorf("wait: %v, %v", list, err)
	}
}

func TestAForeignFileAtTheDestinationIsRefusedAndARightOneAdopted(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, _ := start(t, network, filepath.Join(dir, "state"))
	data := makeFile(t, filepath.Join(dir, "file"), 1000)
	x, err := torrentfmt.Create(t.Context(), filepath.Join(dir, "file"), [2]string{"127.0.0.1:1", "127.0.0.1:2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mtorrent := filepath.Join(dir, "x.mtorrent")
	if _, err := torrentfmt.WriteFile(mtorrent, x); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign")
	was := makeFile(t, foreign, 999)
	if _, err := c.Get(t.Context(), mtorrent, foreign); err == nil {
		t.Error("a foreign file was taken")
	}
	sameFile(t, foreign, was)
	if list, _ := c.Downloads(t.Context()); len(list) != 0 {
		t.Errorf("after the refusal: %+v", list)
	}
	d, err := c.Get(t.Context(), mtorrent, filepath.Join(dir, "file"))
	if err != nil || d.State != control.Seeding {
		t.Errorf("adopting: %+v, %v", d, err)
	}
	sameFile(t, filepath.Join(dir, "file"), data)
}

// lost makes a client whose library holds an unfinished download that it cannot
// go on with: its part is gone and something else stands at its destination.
func lost(t *testing.T) (c *Client, mtorrent, dest string, foreign []byte) {
	t.Helper()
	network, dir := transporttest.Memory(), t.TempDir()
	state := filepath.Join(dir, "state")
	c, end := start(t, network, state)
	makeFile(t, filepath.Join(dir, "file"), 1000)
	x, err := torrentfmt.Create(t.Context(), filepath.Join(dir, "file"), [2]string{"127.0.0.1:1", "127.0.0.1:2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mtorrent, dest = filepath.Join(dir, "x.mtorrent"), filepath.Join(dir, "copy")
	if _, err := torrentfmt.WriteFile(mtorrent, x); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), mtorrent, dest); err != nil {
		t.Fatal(err)
	}
	end()
	if err := os.Remove(dest + ".part"); err != nil {
		t.Fatal(err)
	}
	foreign = makeFile(t, dest, 999)
	c, _ = start(t, network, state)
	awaitState(t, c, control.Missing)
	return c, mtorrent, dest, foreign
}

func TestARefusedGetKeepsWhatTheLibraryKnew(t *testing.T) {
	c, mtorrent, dest, foreign := lost(t)
	if _, err := c.Get(t.Context(), mtorrent, dest); err == nil {
		t.Fatal("a foreign file was taken")
	}
	sameFile(t, dest, foreign)
	if d := only(t, c); d.State != control.Missing {
		t.Errorf("after the refusal: %+v", d)
	}
	if err := os.Remove(dest); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Get(t.Context(), mtorrent, dest); err != nil || d.State != control.Downloading {
		t.Errorf("with the way free: %+v, %v", d, err)
	}
	only(t, c)
}

func TestWaitTellsOfADownloadThatWasLostWhileAway(t *testing.T) {
	c, _, _, _ := lost(t)
	list, err := c.Wait(t.Context(), patience)
	if err != nil || len(list) != 1 || list[0].State != control.Missing {
		t.Errorf("got %+v, %v; want the lost one", list, err)
	}
}

func TestASecondNameForWhatIsSharedIsRefused(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, _ := start(t, network, filepath.Join(dir, "state"))
	file, first, second := filepath.Join(dir, "file"), filepath.Join(dir, "1.mtorrent"), filepath.Join(dir, "2.mtorrent")
	makeFile(t, file, 1000)
	if _, err := c.Share(t.Context(), file, first, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Share(t.Context(), file, second, nil); err == nil {
		t.Error("success, although the second .mtorrent was not written")
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Share(t.Context(), file, first, nil); err != nil {
		t.Errorf("again under the first name: %v", err)
	}
	if _, err := torrentfmt.Open(first); err != nil {
		t.Errorf("the .mtorrent was not written again: %v", err)
	}
}

func TestQuitWhileTheLibraryLoadsEnds(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	state := filepath.Join(dir, "state")
	c, end := start(t, network, state)
	for i := range 8 {
		file := filepath.Join(dir, fmt.Sprint(i))
		makeFile(t, file, 1000+i)
		if _, err := c.Share(t.Context(), file, file+".mtorrent", nil); err != nil {
			t.Fatal(err)
		}
	}
	end()
	for range 30 {
		_, end := start(t, network, state)
		end() // fails the test when it does not come to an end
	}
}
