package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// call is one system call of a traced process. The lines of the trace at which
// it began and ended say what came before what.
type call struct {
	name       string
	args       string
	begin, end int
}

// trace reads what strace -f wrote: a call of one thread may be cut in two by
// those of others.
func (s *swarm) trace(file string) (calls []*call) {
	s.Helper()
	whole := regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	open := map[string]*call{} // by thread
	at := 0
	for line := range strings.Lines(string(s.text(file))) {
		at++
		line = strings.TrimSuffix(line, "\n")
		if m := resumed.FindStringSubmatch(line); m != nil {
			if c := open[m[1]]; c != nil {
				c.end, c.args = at, c.args+m[3]
			}
			continue
		}
		if m := whole.FindStringSubmatch(line); m != nil {
			c := &call{name: m[2], begin: at, end: at}
			var cut bool
			if c.args, cut = strings.CutSuffix(m[3], " <unfinished ...>"); cut {
				open[m[1]] = c
			}
			calls = append(calls, c)
		}
	}
	return calls
}

// TestAFileIsCompleteOnlyOnceItIsOnTheDiskWithItsName watches a client's system
// calls: what was written is synced, then named, then the name is synced, and only
// then the download is called complete.
func TestAFileIsCompleteOnlyOnceItIsOnTheDiskWithItsName(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-f", "-o", "/dev/null", "true").Run()
	}
	if err != nil {
		t.Skipf("strace is not installed, or may not trace: %v", err)
	}
	s := newSwarm(t)
	s.write("one", 5*pieceSize+1, 1)
	s.write("many/a", pieceSize+1, 2)
	s.write("many/in/b", 2*pieceSize, 3)
	s.write("many/in/deep/c", 100, 4)
	s.write("many/in/empty", 0, 5)
	sharer := s.client(10, "sharer")
	sharer.do("share one one.mtorrent")
	sharer.do("share many many.mtorrent")

	args := []string{
		"-f", "-y", "-s", "4096", "-e", "signal=none", "-o", s.path("trace"),
		"-e", "trace=fsync,fdatasync,pwrite64,write,renameat2,renameat,rename,linkat,link", binary,
	}
	p := s.start(process.Spec{
		Name: "downloader", Exe: strace, Args: append(args, s.clientArgs(20, "downloader")...), Dir: s.dir,
	})
	for _, command := range []string{"get one.mtorrent one-copy", "get many.mtorrent many-copy", "wait", "quit"} {
		if err := p.Type(command); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := s.ends(p); code != 0 {
		t.Fatalf("code %d, %q", code, errs)
	}
	s.same("one", "one-copy")
	s.sameFolder("many", "many-copy")
	calls := s.trace("trace")
	dir, err := filepath.EvalSymlinks(s.dir) // as the kernel tells it
	if err != nil {
		t.Fatal(err)
	}

	// find is the only call that fits, or the last.
	find := func(what string, fits func(c *call) bool) *call {
		t.Helper()
		var found *call
		for _, c := range calls {
			if fits(c) {
				found = c
			}
		}
		if found == nil {
			t.Fatalf("the trace has no %s", what)
		}
		return found
	}
	synced := func(path string, after int) *call {
		t.Helper()
		return find(fmt.Sprintf("sync of %s after line %d", path, after), func(c *call) bool {
			return (c.name == "fsync" || c.name == "fdatasync") && c.begin > after &&
				strings.Contains(c.args, "<"+filepath.Join(dir, path)+">)") && strings.HasSuffix(c.args, "= 0")
		})
	}
	lastWrite := func(path string) int {
		last := 0
		for _, c := range calls {
			if c.name == "pwrite64" && strings.Contains(c.args, "<"+filepath.Join(dir, path)+">") {
				last = c.end
			}
		}
		return last
	}
	for name, files := range map[string][]string{"one": {""}, "many": {"/a", "/in/b", "/in/deep/c", "/in/empty"}} {
		part := name + "-copy.part"
		named := find("rename of "+part, func(c *call) bool {
			return strings.HasPrefix(c.name, "rename") && strings.Contains(c.args, `"`+part+`"`) && strings.HasSuffix(c.args, "= 0")
		})
		for _, file := range files {
			last := lastWrite(part + file)
			if last == 0 {
				if !strings.HasSuffix(file, "empty") {
					t.Fatalf("the trace has no write to %s", part+file)
				}
				continue // what holds nothing has nothing to sync but its name
			}
			if at := synced(part+file, last); at.end >= named.begin {
				t.Errorf("%s is named at line %d and synced at %d", part+file, named.begin, at.end)
			}
		}
		if name == "many" {
			for _, folder := range []string{"", "/in", "/in/deep"} {
				if at := synced(part+folder, 0); at.end >= named.begin {
					t.Errorf("the folder is named at line %d and the names in %s are synced at %d", named.begin, part+folder, at.end)
				}
			}
		}
		told := find("word that it is complete", func(c *call) bool {
			return c.name == "write" && strings.Contains(c.args, "download complete") && strings.Contains(c.args, "name="+name+" ")
		})
		found := false
		for _, c := range calls {
			if c.name == "fsync" && strings.Contains(c.args, "<"+dir+">)") && c.begin > named.end && c.end < told.begin {
				found = true
			}
		}
		if !found {
			t.Errorf("%s is called complete at line %d: no sync of its folder between that and its naming at %d", name, told.begin, named.end)
		}
	}
	answer := find("answer to wait", func(c *call) bool { return c.name == "write" && strings.Contains(c.args, "2 downloads complete") })
	for _, c := range calls {
		if strings.HasPrefix(c.name, "rename") && c.end > answer.begin && strings.Contains(c.args, ".part") {
			t.Errorf("%s %s after the answer", c.name, c.args)
		}
	}
}
