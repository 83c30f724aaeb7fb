package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuffersAndFilesBelowWhatIsWantedComeWithTheirCommands(t *testing.T) {
	e := client()
	e.judgeBuffers().is(t, Warning, "could not be looked at", "", "")
	e.BuffersReceive, e.BuffersSend, e.BuffersWanted = 212992, 7_500_000, 7_500_000
	e.judgeBuffers().is(t, Warning, "213 kB in, 7.5 MB out, and QUIC asks for 7.5 MB",
		"sudo sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000", "")
	e.BuffersReceive = 7_500_000
	e.judgeBuffers().is(t, OK, "7.5 MB each way", "", "")

	e.Files = 1524
	e.judgeFiles(1524).is(t, OK, "1524 may be open", "", "")
	e.judgeFiles(1024).is(t, Warning, "may want 1524", "sudo prlimit --pid $$ --nofile=1524:1524", "")
	e.judgeFiles(32).is(t, Failed, "32 may be open", "sudo prlimit --pid $$ --nofile=1524:1524", "")
}

func TestAFolderIsWritableOrSaysWhyNot(t *testing.T) {
	e := client()
	dir := t.TempDir()
	look := func(path, file string) Line { return e.folder(Folder{Of: "state", Path: path, File: file}) }
	look(dir, "state.db").is(t, OK, "state: writable", "", "")
	look(filepath.Join(dir, "a", "b"), "").is(t, OK, "state: will be made", "", "")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	name := filepath.Join(dir, "it's a file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{name, filepath.Join(name, "below")} {
		if l := look(path, ""); l.Result != Failed || !strings.Contains(l.Detail, "is not a folder") || !strings.HasPrefix(l.Mend, "mv '/") {
			t.Errorf("%s: %+v", path, l)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "state.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if l := look(dir, "state.db"); l.Result != Failed || l.Subject != filepath.Join(dir, "state.db") {
		t.Errorf("a folder for a file: %+v", l)
	}
}

func TestRoomThatRunsOutIsToldOfBeforeItHas(t *testing.T) {
	e := client()
	dir := t.TempDir()
	look := func(free, size uint64) Line { return e.judgeRoom(Folder{Of: "state", Path: dir}, free, size) }
	show := "sudo du -xh --max-depth=2 " + dir + " | sort -h | tail"
	look(50e9, 100e9).is(t, OK, "state: 50 GB free of 100 GB", "", "")
	look(4e9, 100e9).is(t, Warning, "4.0 GB", show, "")
	look(900e6, 10e9).is(t, Warning, "900 MB", show, "")
	look(1<<20, 10e9).is(t, Failed, "1.0 MB", show, "")
}

func TestPathsAreOneWordForAShell(t *testing.T) {
	for path, want := range map[string]string{"/var/lib/mtor": "/var/lib/mtor", "/a b": "'/a b'", "$(x)": "'$(x)'", "": "''", "it's": `'it'\''s'`} {
		if got := quote(path); got != want {
			t.Errorf("%q: %s", path, got)
		}
	}
}
