package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func one(o *Options) { o.MaxDownloads = 1 }

// eventually waits for a claim to hold.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// notes lists why each torrent of a client does not run, in order.
func notes(t *testing.T, c *Client) (list []string) {
	t.Helper()
	all, err := c.Downloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		note := d.Note
		if d.State == control.Downloading && note != "queued" {
			note = "" // what else there is to say depends on the moment
		}
		list = append(list, note)
	}
	return list
}

func wantNotes(t *testing.T, c *Client, want ...string) {
	t.Helper()
	if got := notes(t, c); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("notes are %q, want %q", got, want)
	}
}

// shared has a client share files of one piece and more, and returns their
// .mtorrent files.
func shared(t *testing.T, c *Client, dir string, n int) (mtorrents []string) {
	t.Helper()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint("shared-", i))
		makeFile(t, path, torrentfmt.PieceSize+i)
		mtorrents = append(mtorrents, path+".mtorrent")
		if _, err := c.Share(t.Context(), path, mtorrents[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	return mtorrents
}

func get(t *testing.T, c *Client, mtorrent, dest string) {
	t.Helper()
	if _, err := c.Get(t.Context(), mtorrent, dest); err != nil {
		t.Fatal(err)
	}
}

func TestTheBoundOfDownloadsFollowsItsChanges(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	seeder, _ := start(t, network, filepath.Join(dir, "a"))
	c, _ := start(t, network, filepath.Join(dir, "b"), one)
	for i, mtorrent := range shared(t, seeder, dir, 5) {
		if i < 4 {
			get(t, c, mtorrent, filepath.Join(dir, fmt.Sprint("copy-", i)))
		}
	}
	wantNotes(t, c, "", "queued", "queued", "queued")
	c.SetBounds(0, 2)
	wantNotes(t, c, "", "", "queued", "queued")
	c.SetBounds(0, 0)
	wantNotes(t, c, "", "", "", "")
	c.SetBounds(0, 1) // what runs goes on
	get(t, c, filepath.Join(dir, "shared-4.mtorrent"), filepath.Join(dir, "copy-4"))
	wantNotes(t, c, "", "", "", "", "queued")
}

func TestTheBoundOfSessionsFollowsItsChanges(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	seeder, _ := start(t, network, filepath.Join(dir, "a"), func(o *Options) { o.MaxPeers = 2 })
	mtorrent := shared(t, seeder, dir, 1)[0]
	whole := func(name string) *Client {
		c, _ := start(t, network, filepath.Join(dir, name))
		get(t, c, mtorrent, filepath.Join(dir, name+"-copy"))
		eventually(t, name+" to be let in", func() bool {
			c.peers.reach(seeder.Addr(), peer.ID{}, id(t, mtorrent))
			return only(t, c).State == control.Seeding
		})
		return c
	}
	whole("b") // one, so that the seeder finds room to dial
	refused, _ := start(t, network, filepath.Join(dir, "c"))
	get(t, refused, mtorrent, filepath.Join(dir, "c-copy"))
	refused.peers.reach(seeder.Addr(), peer.ID{}, id(t, mtorrent))
	eventually(t, "the refusal", func() bool {
		refused.peers.mu.Lock()
		defer refused.peers.mu.Unlock()
		_, unreached := refused.peers.unreached[seeder.Addr()]
		return unreached
	})
	seeder.SetBounds(4, 0)
	whole("d")
}

func TestASeedIsSaidToHaveWhatIsStillThere(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	c, end := start(t, network, filepath.Join(dir, "state"))
	path := filepath.Join(dir, "file")
	data := makeFile(t, path, 3*torrentfmt.PieceSize)
	d, err := c.Share(t.Context(), path, path+".mtorrent", nil)
	if err != nil || d.Done != d.Size {
		t.Fatalf("shared: %+v, %v", d, err)
	}
	local, _ := c.Local(id(t, d.Mtorrent))
	says := func(when string, state control.State, done int64) {
		t.Helper()
		eventually(t, "what is left of a seed "+when, func() bool {
			d := only(t, c)
			return d.State == state && d.Done == done
		})
	}

	data[0]++
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Section(0); !errors.Is(err, storage.ErrChanged) {
		t.Fatalf("a changed file is sent: %v", err)
	}
	says("whose first piece was changed", control.Failed, 2*torrentfmt.PieceSize)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := local.Section(i); err == nil {
			t.Fatalf("piece %d of a file that is gone is sent", i)
		}
	}
	says("whose file is gone", control.Failed, 0)
	end()
	c, _ = start(t, network, filepath.Join(dir, "state"))
	says("that was missing at the start", control.Missing, 0)
}

func TestATorrentThatCannotGoOnHoldsNoPlaceInTheQueue(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	seeder, _ := start(t, network, filepath.Join(dir, "a"))
	mtorrents := shared(t, seeder, dir, 4)
	c, _ := start(t, network, filepath.Join(dir, "b"), one)

	// A seed whose file was changed under it.
	spoilt := filepath.Join(dir, "spoilt")
	makeFile(t, spoilt, 3*torrentfmt.PieceSize)
	d, err := c.Share(t.Context(), spoilt, spoilt+".mtorrent", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spoilt, make([]byte, 3*torrentfmt.PieceSize), 0o600); err != nil {
		t.Fatal(err)
	}
	local, _ := c.Local(id(t, d.Mtorrent))
	if _, err := local.Section(0); !errors.Is(err, storage.ErrChanged) {
		t.Fatalf("a changed file is sent: %v", err)
	}
	eventually(t, "a word of the changed file", func() bool { return only(t, c).State == control.Failed })

	// A download at whose end something else has its name.
	names := []string{"", "taken", "next", "last", "stays"}
	for i, mtorrent := range mtorrents {
		get(t, c, mtorrent, filepath.Join(dir, names[i+1]))
	}
	foreign := makeFile(t, filepath.Join(dir, "taken"), 10)
	if got := notes(t, c)[1:]; fmt.Sprint(got) != fmt.Sprint([]string{"", "queued", "queued", "queued"}) {
		t.Errorf("behind a changed seed: %q", got)
	}
	c.peers.reach(seeder.Addr(), peer.ID{}, id(t, mtorrents[0]))
	eventually(t, "the failure", func() bool {
		list, _ := c.Downloads(t.Context())
		return list[1].State == control.Failed
	})
	eventually(t, "the next one's turn", func() bool { return notes(t, c)[2] == "" })
	sameFile(t, filepath.Join(dir, "taken"), foreign)

	// And one that is removed.
	if _, err := c.Remove(t.Context(), mtorrents[1]); err != nil {
		t.Fatal(err)
	}
	if got := notes(t, c)[2:]; fmt.Sprint(got) != fmt.Sprint([]string{"", "queued"}) {
		t.Errorf("after remove: %q", got)
	}
}

func TestAFolderWaitsItsTurnAndIsRemovedLikeAFile(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	seeder, _ := start(t, network, filepath.Join(dir, "a"))
	first := shared(t, seeder, dir, 1)[0]
	var folders []string
	for i := range 2 {
		folder := filepath.Join(dir, fmt.Sprint("folder-", i))
		for j := range 3 {
			path := filepath.Join(folder, "in", fmt.Sprint(j))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			makeFile(t, path, torrentfmt.PieceSize+100*i+j)
		}
		if _, err := seeder.Share(t.Context(), folder, folder+".mtorrent", nil); err != nil {
			t.Fatal(err)
		}
		folders = append(folders, folder+".mtorrent")
	}
	c, _ := start(t, network, filepath.Join(dir, "b"), one)
	get(t, c, first, filepath.Join(dir, "first"))
	get(t, c, folders[0], filepath.Join(dir, "second"))
	get(t, c, folders[1], filepath.Join(dir, "third"))
	wantNotes(t, c, "", "queued", "queued")

	// Removed while it waits, and while it runs: nothing had come of either.
	for _, mtorrent := range []string{folders[0], first, folders[1]} {
		left, err := c.Remove(t.Context(), mtorrent)
		if err != nil || left != (control.Removed{}) {
			t.Errorf("remove: left %+v, %v", left, err)
		}
	}
	for _, name := range []string{"first", "second", "third"} {
		for _, path := range []string{filepath.Join(dir, name), storage.PartPath(filepath.Join(dir, name))} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v, want that it is gone", path, err)
			}
		}
	}
}
