package client

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// systemCall is how package os tells which call has failed.
var systemCall = regexp.MustCompile(`\b([a-z]+at2?|open|stat|lstat|mkdir|rename|link|unlink|read|write|fsync|f?truncate|fallocate) /?[^ ]*: [a-z ]+$`)

func mtorrentOf(t *testing.T, path string) (mtorrent string) {
	t.Helper()
	trackers := [2]string{"127.0.0.1:1", "127.0.0.1:2"}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var x *torrentfmt.Torrent
	if info.IsDir() {
		x, _, err = torrentfmt.CreateFolder(t.Context(), path, trackers, nil, nil)
	} else {
		x, err = torrentfmt.Create(t.Context(), path, trackers, nil)
	}
	if err == nil {
		_, err = torrentfmt.WriteFile(path+".mtorrent", x)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path + ".mtorrent"
}

// TestBadInputIsRefusedInWordsThatNameIt goes through what people get wrong. $ is
// the test's folder.
func TestBadInputIsRefusedInWordsThatNameIt(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Skipf("this file system does not take all names: %v", err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, at(name)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	put("file", "a file")
	put("foreign", "another file, and longer")
	put("folder/f", "in a folder")
	put("other/f", "in another")
	put("line\nbreak", "x")
	put("\x1b[31mred", "x")
	put("bad/line\nbreak", "x")
	put("case/A", "x")
	put("case/a", "x")
	put("garbage.mtorrent", "garbage")
	put("newer", `{"mtorrent": 9}`)
	put("taken.part", "other")
	link("/etc", "links/l")
	link("file", "link")
	link("nowhere", "dangling")
	if err := os.MkdirAll(at("hollow/in"), 0o700); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(at("big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := big.Truncate(torrentfmt.MaxFileLen + 1); err != nil {
		t.Fatal(err)
	}
	_ = big.Close()
	file, folder := mtorrentOf(t, at("file")), mtorrentOf(t, at("folder"))
	long := strings.Repeat("n", 256)

	c, _ := start(t, transporttest.Memory(), at("state"))
	share := func(path, mtorrent string) func() error {
		return func() error {
			_, err := c.Share(t.Context(), path, mtorrent, nil)
			return err
		}
	}
	get := func(mtorrent, dest string) func() error {
		return func() error {
			_, err := c.Get(t.Context(), mtorrent, dest)
			return err
		}
	}
	remove := func(mtorrent string) func() error {
		return func() error {
			_, err := c.Remove(t.Context(), mtorrent)
			return err
		}
	}
	new := at("new.mtorrent")
	for _, c := range []struct {
		do   func() error
		want string
	}{
		{share(at("missing"), new), "share: $/missing: there is no such file or folder"},
		{share(at("dangling"), new), "share: $/dangling: there is no such file or folder"},
		{share(at("file/f"), new), "share: $/file/f: a file stands where the path needs a folder"},
		{share(os.DevNull, new), "share: " + os.DevNull + " is a device: only a regular file will do"},
		{share(at("hollow"), new), "share: $/hollow: no regular file is in it: there is nothing to share"},
		{share(at("links"), new), "share: $/links: no regular file is in it: there is nothing to share"},
		{share(at("line\nbreak"), new), "share: $/line\nbreak: its name holds the control character U+000A: rename it first"},
		{share(at("\x1b[31mred"), new), "share: $/\x1b[31mred: its name holds the control character U+001B: rename it first"},
		{share(at("bad"), new), `share: $/bad: path 0, "line\nbreak": holds the control character U+000A: rename or move that first, or share an archive`},
		{share(at("case"), new), `share: $/case: "A" and "a" cannot both stand in one folder on every system: rename or move that first, or share an archive`},
		{share(at("file"), at("no/new.mtorrent")), "share: there is no folder $/no for the .mtorrent: make it first"},
		{share(at("file"), at("garbage.mtorrent")), `share: $/garbage.mtorrent exists and is not this .mtorrent (not a .mtorrent: byte 0 is "g": want a JSON object): choose another name`},
		{share(at("file"), at("new.iso")), "share: $/new.iso does not end in .mtorrent"},
		{share(at("file"), folder), "share: $/folder.mtorrent exists and is a different .mtorrent: choose another name"},

		{get(at("missing"), at("new")), "get: $/missing: there is no such file or folder"},
		{get(at("garbage.mtorrent"), at("new")), `get: $/garbage.mtorrent: not a .mtorrent: byte 0 is "g": want a JSON object`},
		{get(at("newer"), at("new")), "get: $/newer: mtorrent: unknown version 9: want 1 or 2"},
		{get(at("big"), at("new")), "get: $/big: not a .mtorrent: 199294971 bytes: at most 199294970, what 4194304 pieces need"},
		{get(at("folder"), at("new")), "get: $/folder is a folder: only a regular file will do"},
		{get(file, at("no/new")), "get: there is no folder $/no: make it first"},
		{get(file, at("file/new")), "get: $/file is a file, not a folder: choose another destination"},
		{get(file, at("foreign")), "get: $/foreign: is another file: 24 bytes long, the torrent's has 6: move it away, or choose another destination"},
		{get(file, at("link")), "get: $/link: is a symbolic link: move it away, or choose another destination"},
		{get(file, at("taken")), "get: $/taken.part: holds nothing of this torrent: move it away, or choose another destination"},
		{get(file, at(long)), "get: $/" + long + ": the name is too long for this file system"},
		{get(folder, at("foreign")), "get: $/foreign: is a file, and the torrent a folder: move it away, or choose another destination"},
		{get(folder, at("taken")), "get: $/taken.part: is a file, and the torrent a folder: move it away, or choose another destination"},
		{get(folder, at(long)), "get: $/" + long + ": the name is too long for this file system"},

		{remove("missing.mtorrent"), "remove: missing.mtorrent is not in the library: `show downloads`, or mtor client downloads, lists what is"},
	} {
		err := c.do()
		if err == nil {
			t.Errorf("not refused: want %q", c.want)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), dir, "$"); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
		if systemCall.MatchString(err.Error()) {
			t.Errorf("names a system call: %q", err)
		}
	}
	if list, _ := c.Downloads(t.Context()); len(list) > 0 {
		t.Errorf("after nothing but refusals the library has %+v", list)
	}
	for _, name := range []string{"new", "new.part", "new.mtorrent", "foreign.part", "link.part"} {
		if _, err := os.Lstat(at(name)); err == nil {
			t.Errorf("a refusal leaves %s", name)
		}
	}
	// A folder that has something else in the place of the torrent's is refused.
	put("dest/folder/else", "x")
	if err := get(folder, at("dest"))(); err == nil || !strings.Contains(err.Error(), "is another folder") || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a foreign folder: %v", err)
	}
	// An empty file is one that can be shared.
	put("empty", "")
	if err := share(at("empty"), new)(); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func TestAFileThatMayNotBeReadIsRefusedByName(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	c, _ := start(t, transporttest.Memory(), filepath.Join(dir, "state"))
	file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(folder, "in")} {
		if err := os.WriteFile(path, []byte("x"), 0o000); err != nil {
			t.Fatal(err)
		}
	}
	for path, named := range map[string]string{file: file, folder: filepath.Join(folder, "in")} {
		_, err := c.Share(t.Context(), path, path+".mtorrent", nil)
		if err == nil || !strings.HasSuffix(err.Error(), named+": permission denied: it must be open to the user that runs mtor") {
			t.Errorf("share: %v", err)
		}
	}
}

func TestWhatWasNotLookedAtSinceTheStartSaysSo(t *testing.T) {
	network, dir := transporttest.Memory(), t.TempDir()
	state := filepath.Join(dir, "state")
	c, end := start(t, network, state)
	makeFile(t, filepath.Join(dir, "whole"), 1000)
	makeFile(t, filepath.Join(dir, "part"), 2000)
	if _, err := c.Share(t.Context(), filepath.Join(dir, "whole"), filepath.Join(dir, "whole.mtorrent"), nil); err != nil {
		t.Fatal(err)
	}
	mtorrent := mtorrentOf(t, filepath.Join(dir, "part"))
	get(t, c, mtorrent, filepath.Join(dir, "copy"))
	end()

	table := transport.Table{network}
	c, err := New(t.Context(), Options{
		Addr: "127.0.0.1:0", Trackers: []string{"127.0.0.1:1", "127.0.0.1:2"}, StateDir: state,
		Listen: table, Dial: table, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Downloads(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, d := range list {
		name := []string{"whole", "part"}[i] // in the torrent, whatever the file is called here
		if d.State != control.Checking || d.Note != "waits to be checked" || d.Name != name {
			t.Errorf("before it is checked: %+v", d)
		}
		if it, err := c.find(name); err != nil || it.entry.ID.String() != d.ID {
			t.Errorf("before it is checked it is not found by its name: %v", err)
		}
	}
	if n := c.Gauges().Downloads[control.Checking]; n != 2 {
		t.Errorf("the gauge says %d", n)
	}
	d, err := c.Get(t.Context(), mtorrent, filepath.Join(dir, "copy"))
	if err != nil || d.State != control.Checking || d.Size != 2000 {
		t.Errorf("get: %+v, %v", d, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	eventually(t, "both to be checked", func() bool { return c.Gauges().Downloads[control.Checking] == 0 })
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
