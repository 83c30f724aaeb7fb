package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/mtor-dev/mtor/metrics"
)

// machine looks at everything that is this machine's own.
func (e *examination) machine() []Line {
	lines := []Line{e.judgeBuffers()}
	if limit, err := fileLimit(); err == nil {
		lines = append(lines, e.judgeFiles(limit))
	}
	for _, f := range e.Folders {
		lines = append(lines, e.folder(f))
	}
	seen := map[string]bool{}
	for _, f := range e.Folders {
		at, _ := existing(f.Path)
		if free, size, err := metrics.DiskRoom(at); err == nil && !seen[at] {
			lines = append(lines, e.judgeRoom(f, free, size))
		}
		seen[at] = true
	}
	return lines
}

func (e *examination) judgeBuffers() Line {
	l := Line{Check: "udp_buffers", Result: OK}
	got := min(e.BuffersReceive, e.BuffersSend)
	switch {
	case e.BuffersWanted == 0:
		l.Result, l.Detail = Warning, "could not be looked at"
	case got >= e.BuffersWanted:
		l.Detail = humanize.Bytes(uint64(e.BuffersWanted)) + " each way"
	default:
		l.Result = Warning
		l.Detail = fmt.Sprintf("%s in, %s out, and QUIC asks for %s: up to a fifth slower",
			humanize.Bytes(uint64(e.BuffersReceive)), humanize.Bytes(uint64(e.BuffersSend)), humanize.Bytes(uint64(e.BuffersWanted)))
		l.Mend = e.Tools.buffers(e.BuffersWanted)
	}
	return l
}

// fewFiles is what no role gets along with: its own files, a listener, and a
// handful of connections.
const fewFiles = 64

func (e *examination) judgeFiles(limit uint64) Line {
	l := Line{Check: "open_files", Result: OK, Detail: fmt.Sprintf("%d may be open, %d are enough", limit, e.Files)}
	if limit >= e.Files {
		return l
	}
	l.Result = Warning
	l.Detail = fmt.Sprintf("%d may be open: with its settings the %s may want %d", limit, e.Role, e.Files)
	if limit < fewFiles {
		l.Result = Failed
	}
	l.Mend = e.Tools.files(e.Files)
	return l
}

// existing is path, or the nearest above it that exists.
func existing(path string) (at string, whole bool) {
	at, err := filepath.Abs(path)
	if err != nil {
		return path, true
	}
	whole = true
	for {
		_, err := os.Stat(at)
		if absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR); !absent || filepath.Dir(at) == at {
			return at, whole
		}
		at, whole = filepath.Dir(at), false
	}
}

// folder looks whether a folder can be written to, and its file.
func (e *examination) folder(f Folder) Line {
	l := Line{Check: "folder", Subject: f.Path, Result: OK, Detail: f.Of + ": writable"}
	at, whole := existing(f.Path)
	if !whole {
		l.Detail = f.Of + ": will be made"
	}
	if info, err := os.Stat(at); err == nil && !info.IsDir() {
		l.Result, l.Detail, l.Mend = Failed, fmt.Sprintf("%s: %s is not a folder", f.Of, at), e.Tools.aside(at)
		return l
	}
	if err := writable(at); err != nil {
		l.Result, l.Detail = Failed, f.Of+": "+reason(err)
		l.Mend = e.Tools.own(f.Path, !whole)
		return l
	}
	if !whole || f.File == "" {
		return l
	}
	name := filepath.Join(f.Path, f.File)
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	switch {
	case err == nil:
		_ = file.Close() // nothing was written
	case !errors.Is(err, fs.ErrNotExist):
		l.Subject, l.Result, l.Detail = name, Failed, f.Of+": "+reason(err)
		l.Mend = e.Tools.own(name, false)
	}
	return l
}

// writable makes a file in a folder, writes to it and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".mtor-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("mtor doctor\n")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// reason is an error of the file system without the path.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// What is to be free: below tightBytes, or one part in tightPart of the file
// system, the alert on full disks fires too; below noRoom not even the role's own
// database can go on.
const (
	tightBytes = 1_000_000_000
	tightPart  = 20
	noRoom     = 64 << 20
)

func (e *examination) judgeRoom(f Folder, free, size uint64) Line {
	l := Line{
		Check: "free_space", Subject: f.Path, Result: OK,
		Detail: fmt.Sprintf("%s: %s free of %s", f.Of, humanize.Bytes(free), humanize.Bytes(size)),
	}
	switch {
	case free < noRoom:
		l.Result = Failed
	case free < tightBytes || free < size/tightPart:
		l.Result = Warning
	default:
		return l
	}
	at, _ := existing(f.Path)
	l.Mend = e.Tools.room(at)
	return l
}

// quote makes a path one word for a shell.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 || runtime.GOOS == "windows" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
