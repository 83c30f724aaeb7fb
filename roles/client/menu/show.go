package menu

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// showLine is a torrent's line in the answer to show downloads. The rate is
// what comes in while it downloads, and what goes out when it is whole.
func showLine(d control.Download) string {
	name := Printable(d.Name)
	var line string
	switch d.State {
	case control.Downloading:
		line = fmt.Sprintf("[D] %s %s %s %s", name, percent(d), rate(d.DownRate), count(d.Peers, "peer"))
	case control.Seeding:
		line = fmt.Sprintf("[S] %s %s %s up %s", name, percent(d), rate(d.UpRate), count(d.Peers, "peer"))
	case control.Checking:
		return fmt.Sprintf("[?] %s %s", name, why(d))
	case control.NoRoom, control.Paused:
		line = fmt.Sprintf("[!] %s %s paused", name, percent(d))
	default:
		return fmt.Sprintf("[!] %s %s", name, why(d))
	}
	if d.Note != "" {
		line += " (" + Printable(d.Note) + ")"
	}
	return line
}

// why says what stopped a torrent that neither downloads nor seeds.
func why(d control.Download) string {
	if d.Note != "" {
		return Printable(d.Note)
	}
	return string(d.State)
}

// peerLine is a peer's line in the answer to show peers.
func peerLine(p control.Peer) string {
	return fmt.Sprintf("%s %s has %d of %d, %d came from it, %d asked for, %s up %s", Printable(p.Addr), Printable(p.Transport),
		p.Pieces, p.Of, p.Received, p.Asked, rate(p.DownRate), rate(p.UpRate))
}

func sharedLine(d control.Download) string {
	return fmt.Sprintf("shared %s: %s in %s, %s", Printable(d.Name), Size(d.Size),
		count(d.Pieces(), "piece"), Printable(d.Mtorrent))
}

func gotLine(d control.Download) string {
	verb := "getting"
	switch d.State {
	case control.Seeding:
		verb = "have"
	case control.NoRoom, control.Paused:
		verb = "paused"
	case control.Checking:
		return fmt.Sprintf("%s: %s at %s %s, then it goes on by itself", Printable(d.Name), Size(d.Size), Printable(d.Path), why(d))
	}
	return fmt.Sprintf("%s %s: %s to %s", verb, Printable(d.Name), Size(d.Size), Printable(d.Path))
}

func removedLine(mtorrent string, left control.Removed) string {
	line := "removed " + Printable(mtorrent)
	if left.Part != "" {
		line += fmt.Sprintf(": %d of %s stay in %s, get goes on from there",
			left.Done, count(left.Pieces, "piece"), Printable(left.Part))
	}
	return line
}

// percent is rounded down: 100% is said of a whole file alone.
func percent(d control.Download) string {
	if d.Size <= 0 {
		return "100%"
	}
	n := d.Done * 100 / d.Size // Size is at most 2^53
	if !d.Whole() {
		n = min(n, 99) // it is yet to be made durable and to get its name
	}
	return strconv.FormatInt(n, 10) + "%"
}

// Size is a number of bytes for people.
func Size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

func rate(bytes float64) string { return humanize.IBytes(uint64(max(bytes, 0))) + "/s" }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Printable makes one line of s that no terminal obeys: what is not a visible
// character is written as Go escapes it.
func Printable(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if hidden(r) {
			q := strconv.Quote(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func hidden(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// printHelp lists the grammar, or tells more about some verbs. width is that of
// a terminal in columns, or 0: what would not fit beside each other goes beneath.
func printHelp(w io.Writer, about []string, width int) {
	if len(about) == 0 {
		var b strings.Builder
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, v := range verbs {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", v.usage(), v.help)
		}
		_ = t.Flush()
		list := b.String()
		for row := range strings.Lines(list) {
			if width > 0 && len(row)-1 > width {
				b.Reset()
				for _, v := range verbs {
					_, _ = fmt.Fprintf(&b, "%s\n    %s\n", v.usage(), v.help)
				}
				list = b.String()
				break
			}
		}
		_, _ = io.WriteString(w, list) // a reader that is gone has its answers lost, nothing else
		return
	}
	for _, name := range about {
		v := verbs[find(name)]
		_, _ = fmt.Fprintf(w, "%s\n  %s\n", v.usage(), v.help)
		if v.more != "" {
			_, _ = fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(v.more, "\n", "\n  "))
		}
	}
}

// printError writes the line of a failed command. An error's text up to the
// first colon says what failed; one without a colon failed at what.
func printError(w io.Writer, what string, err error) {
	text := err.Error()
	var c *commandError
	if errors.As(err, &c) {
		what, text = c.what, c.why
	} else if head, tail, ok := strings.Cut(text, ": "); ok {
		what, text = head, tail
	}
	_, _ = fmt.Fprintf(w, "error: %s : %s\n", Printable(what), Printable(strings.ReplaceAll(text, "\n", "; ")))
}
