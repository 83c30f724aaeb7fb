package menu

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// table is what a terminal shows in columns. The first row is the heading.
type table struct {
	rows [][]string
	// flexible is the column that is cut when the rows are too wide, and keep
	// what is left of it at least, in columns of the terminal.
	flexible int
	// left says which columns are words: numbers stand at the right.
	left []bool
	// notes are shown beneath a row, which they are too long for.
	notes []string
}

const (
	gap      = 2 // columns between two columns
	leastCut = 8 // columns that a name is not cut below
)

// lines lays the table out in at most width columns if the flexible column can
// give so much; 0 means any width.
func (t table) lines(width int) []string {
	widths := make([]int, len(t.rows[0]))
	total := -gap
	for i := range widths {
		for _, row := range t.rows {
			widths[i] = max(widths[i], ansi.StringWidth(row[i]))
		}
		total += widths[i] + gap
	}
	if width > 0 && total > width {
		widths[t.flexible] = max(widths[t.flexible]-(total-width), min(widths[t.flexible], leastCut))
	}
	var list []string
	for n, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			cell = Cut(cell, widths[i])
			space := strings.Repeat(" ", widths[i]-ansi.StringWidth(cell))
			switch {
			case t.left[i]:
				b.WriteString(cell + space)
			default:
				b.WriteString(space + cell)
			}
			b.WriteString(strings.Repeat(" ", gap))
		}
		list = append(list, strings.TrimRight(b.String(), " "))
		if t.notes[n] != "" {
			list = append(list, "     "+t.notes[n])
		}
	}
	return list
}

// Cut shortens s in its middle to at most width columns of a terminal: the end
// of a filename says as much as its beginning.
func Cut(s string, width int) string {
	all := ansi.StringWidth(s)
	if all <= width {
		return s
	}
	if width < 3 {
		return ansi.Truncate(s, max(width, 0), "")
	}
	tail := (width - 1) / 2
	end := ansi.TruncateLeft(s, all-tail, "")
	if ansi.StringWidth(end) > tail { // a wide character stood at the cut
		end = ansi.TruncateLeft(s, all-tail+1, "")
	}
	return ansi.Truncate(s, width-1-tail, "") + "…" + end
}

// downloadTable is show downloads on a terminal.
func downloadTable(list []control.Download) table {
	t := table{flexible: 1, left: []bool{true, true, false, false, false, false, false, false}}
	t.row("", "", "NAME", "SIZE", "DONE", "DOWN", "UP", "PEERS", "LEFT")
	for _, d := range list {
		note := d.Note
		if note == "" && (d.State == control.Failed || d.State == control.Missing || d.State == control.Paused) {
			note = string(d.State)
		}
		t.row(Printable(note), mark(d.State), Printable(d.Name), Size(d.Size), percent(d), idle(d.DownRate), idle(d.UpRate),
			strconv.Itoa(d.Peers), Left(d))
	}
	return t
}

// peerTable is show peers on a terminal.
func peerTable(list []control.Peer) table {
	t := table{flexible: 0, left: []bool{true, true, false, false, false, false, false}}
	t.row("", "PEER", "BY", "HAS", "CAME", "ASKED", "DOWN", "UP")
	for _, p := range list {
		t.row("", Printable(p.Addr), Printable(p.Transport), fmt.Sprintf("%d/%d", p.Pieces, p.Of), strconv.Itoa(p.Received),
			strconv.Itoa(p.Asked), idle(p.DownRate), idle(p.UpRate))
	}
	return t
}

func (t *table) row(note string, cells ...string) {
	t.rows = append(t.rows, cells)
	t.notes = append(t.notes, note)
}

// mark is a state in three characters.
func mark(s control.State) string {
	switch s {
	case control.Downloading:
		return "[D]"
	case control.Seeding:
		return "[S]"
	case control.Checking:
		return "[?]"
	}
	return "[!]"
}

// idle is a rate, or nothing while nothing moves.
func idle(bytes float64) string {
	if bytes < 1 {
		return "-"
	}
	return Rate(bytes)
}

// Left is how long a download takes at its present rate, to two units; "-" when
// that cannot be said.
func Left(d control.Download) string {
	left, ok := d.Left()
	if !ok {
		return "-"
	}
	switch left = left.Round(time.Second); {
	case left < time.Minute:
		return fmt.Sprintf("%ds", int(left.Seconds()))
	case left < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(left.Minutes()), int(left.Seconds())%60)
	case left < 100*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(left.Hours()), int(left.Minutes())%60)
	}
	return "days"
}

// Rate is bytes a second in MB/s, of 10^6 bytes as in all benchmarks.
func Rate(bytes float64) string {
	mb := max(bytes, 0) / 1e6
	switch {
	case mb >= 100:
		return fmt.Sprintf("%.0f MB/s", mb)
	case mb >= 1:
		return fmt.Sprintf("%.1f MB/s", mb)
	}
	return fmt.Sprintf("%.2f MB/s", mb)
}
