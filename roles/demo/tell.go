package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// progressEvery is how often progress is printed where it cannot overwrite its
// own line.
const progressEvery = 2 * time.Second

// narrator writes for people: numbered steps, notes under them, one line of
// progress. It knows no colours; off a terminal every line stays.
type narrator struct {
	w        io.Writer
	terminal bool
	steps    int
	width    int       // of the progress line that the cursor stands on
	printed  time.Time // when progress was last printed off a terminal
}

func (n *narrator) step(format string, args ...any) {
	n.steps++
	n.line(fmt.Sprintf("%d. %s", n.steps, fmt.Sprintf(format, args...)))
}

func (n *narrator) say(format string, args ...any) {
	n.line("   " + fmt.Sprintf(format, args...))
}

func (n *narrator) line(text string) {
	if n.width > 0 {
		fmt.Fprintln(n.w)
		n.width = 0
	}
	fmt.Fprintln(n.w, text)
}

// progress shows where the transfers stand. last is the final state of a step,
// which is always printed.
func (n *narrator) progress(all []standing, last bool) {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = fmt.Sprintf("%s %3d%%", s.name, s.percent)
	}
	text := "   " + strings.Join(parts, "   ")
	if n.terminal {
		// Spaces, not an escape code, cover what an earlier line left.
		fmt.Fprintf(n.w, "\r%-*s", n.width, text)
		n.width = len(text)
		return
	}
	if now := time.Now(); last || now.Sub(n.printed) >= progressEvery {
		n.printed = now
		fmt.Fprintln(n.w, text)
	}
}

// row is one downloader in the final table.
type row struct {
	client, transport string
	done              completion
}

// table prints the rows; names says who is behind an address.
func (n *narrator) table(rows []row, names map[string]string) {
	n.line("")
	t := tabwriter.NewWriter(n.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "   CLIENT\tTRANSPORT\tMB/S\tPIECES FROM")
	for _, r := range rows {
		rate := "-"
		if r.done.seconds > 0 {
			rate = fmt.Sprintf("%.0f", float64(r.done.bytes)/r.done.seconds/1e6)
		}
		fmt.Fprintf(t, "   %s\t%s\t%s\t%s\n", r.client, r.transport, rate, sources(r.done.from, names))
	}
	_ = t.Flush() // the table is lost with its reader, nothing else
	n.line("")
}

// sources lists who sent how much, the most first.
func sources(from []source, names map[string]string) string {
	from = slices.Clone(from)
	slices.SortStableFunc(from, func(a, b source) int { return b.pieces - a.pieces })
	var parts []string
	for _, s := range from {
		name := names[s.addr]
		if name == "" {
			name = s.addr
		}
		parts = append(parts, fmt.Sprintf("%s %d (%s)", name, s.pieces, s.scheme))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// recipe prints what ran, in a form that runs as it stands in the folder.
func (n *narrator) recipe(folder string, lines []string) {
	n.line("")
	n.line("The same by hand. Each ../mtor in a terminal of its own, in the folder " + folder + ";")
	n.line("what is indented under a client is typed into its menu:")
	n.line("")
	for _, l := range lines {
		n.line("  " + l)
	}
	n.line("")
}

func humanSize(size int64) string { return humanize.IBytes(uint64(size)) }
