package screen

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mtor-dev/mtor/roles/client/menu"
)

func TestHistoryFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	var b strings.Builder
	for i := range 4 * keptLines {
		fmt.Fprintf(&b, "%d %s\n", i, strings.Repeat("x", 500))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	h := openHistory(path)
	if len(h.lines) != keptLines || !strings.HasPrefix(h.lines[len(h.lines)-1], fmt.Sprint(4*keptLines-1, " x")) {
		t.Errorf("%d lines, the last is %q", len(h.lines), h.lines[len(h.lines)-1])
	}
	for i := range 5 {
		h.add(fmt.Sprint(i))
	}
	h.close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != historyMode || info.Size() > historyMost {
		t.Error(info.Mode(), info.Size(), err)
	}
	h = openHistory(path)
	defer h.close()
	if len(h.lines) != keptLines || h.lines[keptLines-1] != "4" || !strings.HasPrefix(h.lines[0], fmt.Sprint(3*keptLines+5, " x")) {
		t.Errorf("%d lines, %q to %q", len(h.lines), h.lines[0], h.lines[len(h.lines)-1])
	}
}

func TestHistoryThatIsCutOffBeginsWithAWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(path, []byte(strings.Repeat("y", historyMost)+"\nlast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := openHistory(path)
	defer h.close()
	if !slices.Equal(h.lines, []string{"last"}) {
		t.Errorf("%d lines", len(h.lines))
	}
}

func TestMenuGoesOnWithoutAHistoryFile(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none", "history"), t.TempDir()} {
		h := openHistory(path)
		h.add("help")
		if got := h.older(""); got != "help" {
			t.Errorf("%q: %q", path, got)
		}
		h.close()
	}
}

// FuzzHistory: whatever stands in the file, what comes of it can be typed, and is
// read again as it was.
func FuzzHistory(f *testing.F) {
	for _, s := range []string{"", "help\n", "a\r\nb\n\n\nc", "\x1b[2J\nok\n", "\xff\xfe\n", "\x00\n", strings.Repeat("z", 70000) + "\nx\n", " leading\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list := parseHistory(strings.NewReader(s))
		if len(list) > keptLines {
			t.Fatalf("%d lines", len(list))
		}
		for _, line := range list {
			if line == "" || !utf8.ValidString(line) || strings.IndexFunc(line, unicode.IsControl) >= 0 || len(line) > menu.MaxLine*utf8.UTFMax {
				t.Fatalf("%q", line)
			}
		}
		if again := parseHistory(strings.NewReader(strings.Join(list, "\n"))); !slices.Equal(again, list) {
			t.Fatalf("%q became %q", list, again)
		}
	})
}
