package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/menu"
)

const (
	mostBars  = 8  // that are drawn; the others are counted
	widestBar = 30 // columns
	leastBar  = 6  // columns; a narrower one says nothing
	widest    = 32 // columns of a name
	leastName = 10 // columns of a name, beside a bar
)

var barStyle = lipgloss.NewStyle().Foreground(lipgloss.Cyan)

// bars draws the downloads that run, a line each, at most rows lines of at most
// width columns.
func bars(list []control.Download, width, rows int) []string {
	var running []control.Download
	for _, d := range list {
		if d.State == control.Downloading || d.State == control.NoRoom {
			running = append(running, d)
		}
	}
	most := min(mostBars, max(rows, 0))
	if len(running) > most {
		most = max(most-1, 0)
	}
	var lines []string
	name := 0
	for _, d := range running[:min(most, len(running))] {
		name = max(name, ansi.StringWidth(shown(d.Name)))
	}
	for _, d := range running[:min(most, len(running))] {
		lines = append(lines, bar(d, min(name, widest), width))
	}
	if more := len(running) - len(lines); more > 0 && rows > 0 {
		lines = append(lines, fit(fmt.Sprintf("and %d more", more), width))
	}
	return lines
}

// bar is one download in at most width columns: what is least needed gives way
// first.
func bar(d control.Download, name, width int) string {
	facts := []string{percent(d)}
	if d.State == control.NoRoom {
		facts = append(facts, "no room")
	} else {
		peers := " peers"
		if d.Peers == 1 {
			peers = " peer "
		}
		facts = append(facts, fmt.Sprintf("%9s", menu.Rate(d.DownRate)), fmt.Sprintf("%3d", d.Peers)+peers, fmt.Sprintf("%6s", menu.Left(d)))
	}
	for {
		said := strings.Join(facts, "  ")
		free := width - name - 2 - ansi.StringWidth(said) // for the bar and its gap
		switch {
		case free-2 >= leastBar:
			n := min(free-2, widestBar)
			return cell(d.Name, name) + "  " + drawn(d, n) + "  " + said
		case name > leastName && free-2+name-leastName >= leastBar:
			name -= leastBar - (free - 2)
		case len(facts) > 1:
			facts = append(facts[:1:1], facts[1:len(facts)-1]...)
		case free >= 0:
			return cell(d.Name, name) + "  " + said
		default:
			return fit(facts[0]+" "+shown(d.Name), width)
		}
	}
}

// drawn is the bar itself, n columns wide.
func drawn(d control.Download, n int) string {
	full := 0
	if d.Size > 0 {
		full = int(float64(n) * float64(d.Done) / float64(d.Size))
	}
	full = min(max(full, 0), n)
	return barStyle.Render(strings.Repeat("█", full)) + strings.Repeat("░", n-full)
}

// cell is a name in exactly width columns.
func cell(name string, width int) string {
	name = menu.Cut(shown(name), width)
	return name + strings.Repeat(" ", max(width-ansi.StringWidth(name), 0))
}

func percent(d control.Download) string {
	p := int64(100)
	if d.Size > 0 {
		p = d.Done * 100 / d.Size
	}
	return fmt.Sprintf("%4s", strconv.FormatInt(p, 10)+"%")
}

// fit cuts a line at the edge of the screen.
func fit(s string, width int) string { return ansi.Truncate(s, width, "…") }

func shown(s string) string { return menu.Printable(s) }

// completeLine tells of a download that has ended well.
func completeLine(d control.Download, before seen, now time.Time) string {
	line := fmt.Sprintf("complete %s: %s", shown(d.Name), menu.Size(d.Size))
	if took := now.Sub(before.since); took >= time.Second && d.Size > before.had {
		line += fmt.Sprintf(" in %s, %s", took.Round(time.Second), menu.Rate(float64(d.Size-before.had)/took.Seconds()))
	}
	return line + ", " + shown(d.Path)
}

// stoppedLine tells of a torrent that an error has stopped.
func stoppedLine(d control.Download) string {
	why := d.Note
	if why == "" {
		why = string(d.State)
	}
	return fmt.Sprintf("error: %s : %s", shown(d.Name), shown(why))
}
