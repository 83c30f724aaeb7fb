package screen

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mtor-dev/mtor/roles/client/menu"
)

const (
	keptLines   = 1000    // of the history
	historyMost = 1 << 20 // bytes that are read of its file
	historyMode = 0o600   // it holds paths, which are nobody else's business
)

// history is what was typed, oldest first, in this run of the menu and those
// before.
type history struct {
	file  *os.File // nil when it is not kept
	lines []string
	at    int    // which of lines is shown; len(lines) for none
	draft string // what was being typed when an older line was called up
}

// openHistory reads the file at path and keeps it open; what stands in the way of
// either costs the history, not the menu.
func openHistory(path string) *history {
	h := &history{}
	if path == "" {
		return h
	}
	old, err := readHistory(path)
	if err == nil {
		h.lines = old
		h.file, err = rewrite(path, old)
	}
	if err != nil {
		h.file = nil
	}
	h.at = len(h.lines)
	return h
}

// readHistory reads the last lines of a file; one that is not there is empty.
func readHistory(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened to read
	in := bufio.NewReader(io.LimitReader(f, historyMost))
	if end, err := f.Seek(0, io.SeekEnd); err == nil { // a pipe has no end
		if _, err = f.Seek(max(end-historyMost, 0), io.SeekStart); err != nil {
			return nil, err
		}
		if end > historyMost {
			_, _ = in.ReadString('\n') // the rest of a line is none
		}
	}
	return parseHistory(in), nil
}

// parseHistory takes the last keptLines lines that could have been typed.
func parseHistory(r io.Reader) []string {
	var list []string
	in := bufio.NewScanner(r)
	in.Buffer(nil, menu.MaxLine*utf8.UTFMax+1)
	for in.Scan() { // a line too long for the scanner ends the history
		if line := in.Text(); line != "" && utf8.ValidString(line) && strings.IndexFunc(line, unicode.IsControl) < 0 {
			list = append(list, line)
		}
	}
	return list[max(len(list)-keptLines, 0):]
}

// rewrite replaces the file by one that holds the lines, and leaves it open to be
// appended to.
func rewrite(path string, lines []string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return nil, err
	}
	text := strings.Join(lines, "\n")
	if text != "" {
		text += "\n"
	}
	if _, err = f.WriteString(text); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

func (h *history) close() {
	if h.file != nil {
		_ = h.file.Close() // each line was written as it came
	}
}

// add keeps a line, unless it is the last one again, empty, or begins with a
// space, by which a shell's user keeps it out.
func (h *history) add(line string) {
	if line != "" && line[0] != ' ' && (len(h.lines) == 0 || h.lines[len(h.lines)-1] != line) {
		h.lines = append(h.lines, line)
		h.lines = h.lines[max(len(h.lines)-keptLines, 0):]
		if h.file != nil {
			_, _ = h.file.WriteString(line + "\n") // the history of this run stays anyhow
		}
	}
	h.at, h.draft = len(h.lines), ""
}

// older is the line before the one that is shown, or that one if it is the
// oldest.
func (h *history) older(shown string) string {
	if h.at == len(h.lines) {
		h.draft = shown
	}
	if h.at == 0 {
		return shown
	}
	h.at--
	return h.lines[h.at]
}

// newer is the line after the one that is shown, and at the end what was being
// typed.
func (h *history) newer(shown string) string {
	if h.at == len(h.lines) {
		return shown
	}
	h.at++
	if h.at == len(h.lines) {
		return h.draft
	}
	return h.lines[h.at]
}
