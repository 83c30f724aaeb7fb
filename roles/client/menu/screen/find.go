package screen

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/menu"
)

// mostFound bounds what is read of a folder to complete a path: beyond it nobody
// looks through the list.
const mostFound = 4096

// mostListed bounds the candidates that are shown.
const mostListed = 200

// candidates are the words that a line's last word may become.
type candidates struct {
	of   menu.Completion
	list []candidate
}

// candidate is one of them.
type candidate struct {
	word string // whole, as it stands in the line but for quotes
	name string // as it is listed
	open bool   // something may follow in the same word: a folder
}

// look finds the candidates of a completion. It reads at most one folder.
func look(c menu.Completion, list []control.Download) candidates {
	found := candidates{of: c}
	put := func(word string) {
		if strings.HasPrefix(word, c.Typed) && !hidden(word) {
			found.list = append(found.list, candidate{word: word, name: word})
		}
	}
	for _, word := range c.Words {
		put(word)
	}
	switch c.Kind {
	case menu.Name:
		for _, name := range names(list) {
			put(name)
		}
	case menu.Path, menu.Mtorrent:
		found.list = append(found.list, paths(c.Typed, c.Kind == menu.Mtorrent)...)
		if c.Kind == menu.Mtorrent && !strings.ContainsRune(c.Typed, filepath.Separator) {
			for _, d := range list {
				if filepath.Base(d.Mtorrent) != d.Mtorrent && strings.HasPrefix(filepath.Base(d.Mtorrent), c.Typed) && c.Typed != "" {
					put(d.Mtorrent)
				}
			}
		}
	}
	slices.SortStableFunc(found.list, func(a, b candidate) int { return cmp.Compare(a.word, b.word) })
	found.list = slices.CompactFunc(found.list, func(a, b candidate) bool { return a.word == b.word })
	return found
}

// names are what the torrents of the library can be called: the last component of
// their .mtorrent where that is one torrent's alone, else all of it.
func names(list []control.Download) []string {
	held := map[string]int{}
	for _, d := range list {
		held[filepath.Base(d.Mtorrent)]++
	}
	var all []string
	for _, d := range list {
		if base := filepath.Base(d.Mtorrent); held[base] == 1 {
			all = append(all, base)
		} else {
			all = append(all, d.Mtorrent)
		}
	}
	return all
}

// paths are the entries of the folder that typed leads to whose names begin as it
// ends. A name that begins with a dot is wanted only if typed says so.
func paths(typed string, mtorrents bool) []candidate {
	dir, start := "", typed
	if i := strings.LastIndexByte(typed, filepath.Separator); i >= 0 {
		dir, start = typed[:i+1], typed[i+1:]
	}
	folder, err := os.Open(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	defer func() { _ = folder.Close() }() // opened to read
	entries, _ := folder.ReadDir(mostFound)
	var list []candidate
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, start) || hidden(name) || start == "" && name[0] == '.' {
			continue
		}
		is := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(cmp.Or(dir, "."), name))
			is = err == nil && info.IsDir()
		}
		switch {
		case is:
			list = append(list, candidate{word: dir + name + string(filepath.Separator), name: name + string(filepath.Separator), open: true})
		case !mtorrents || strings.HasSuffix(name, ".mtorrent"):
			list = append(list, candidate{word: dir + name, name: name})
		}
	}
	return list
}

// hidden reports names that cannot be typed, or that would not be what they look
// like.
func hidden(name string) bool {
	return strings.ContainsRune(name, unicode.ReplacementChar) || menu.Printable(name) != name
}

// apply is the line with as much of its last word as is certain. sure says that
// this is the only candidate.
func (c candidates) apply(line string) (string, bool) {
	if len(c.list) == 0 {
		return line, false
	}
	if len(c.list) == 1 {
		return c.of.Put(line, c.list[0].word, !c.list[0].open), true
	}
	common := c.list[0].word
	for _, other := range c.list[1:] {
		n := 0
		for n < len(common) && n < len(other.word) && common[n] == other.word[n] {
			n++
		}
		common = common[:n]
	}
	common = strings.ToValidUTF8(common, "") // half a character is not common
	if len(common) <= len(c.of.Typed) {
		return line, false
	}
	return c.of.Put(line, common, false), false
}

// columns lists the candidates as ls does, in at most width columns.
func (c candidates) columns(width int) string {
	list := c.list[:min(len(c.list), mostListed)]
	widest := 0
	for _, one := range list {
		widest = max(widest, ansi.StringWidth(one.name)+2)
	}
	across := max(width/max(widest, 1), 1)
	down := (len(list) + across - 1) / across
	var b strings.Builder
	for i := range down {
		line := ""
		for j := i; j < len(list); j += down {
			name := list[j].name
			line += name + strings.Repeat(" ", widest-ansi.StringWidth(name))
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(line, " "))
	}
	if more := len(c.list) - len(list); more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}
