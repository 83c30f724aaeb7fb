package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// exitTimeout is the exit code of a command whose --timeout was over; it is that
// of timeout(1).
const exitTimeout = 124

const (
	// followEvery is how often a download is looked at.
	followEvery = 250 * time.Millisecond
	// plainEvery is how often a plain line tells of it, where there is no bar.
	plainEvery = 5 * time.Second
	// barWidth is the bar's own width, and narrow the terminal that is too narrow
	// for one; maxBarName is what is shown of a name.
	barWidth   = 24
	narrow     = 60
	maxBarName = 28
)

// follower tells of a download until it is over.
type follower struct {
	api  control.API
	out  io.Writer // of events
	err  io.Writer // of the bar, or of plain lines
	json bool      // events instead of both
	term int       // the columns of the terminal that err is, or 0

	begun time.Time
	told  time.Time
	last  control.Download
	noted string // the note that was written above the bar
	width int    // of the line that stands there
}

// event is a line of a stream of JSON: what has happened, and the torrent.
type event struct {
	Event string `json:"event"`
	control.Download
}

// The events.
const (
	eventProgress = "progress"
	eventComplete = "complete"
	eventFailed   = "failed"
	eventTimeout  = "timeout"
	eventSeeded   = "seeded" // enough, as was asked for
)

func newFollower(api control.API, out, err io.Writer, asJSON bool) *follower {
	f := &follower{api: api, out: out, err: err, json: asJSON, term: columns(err), begun: time.Now()}
	if !asJSON {
		f.told = f.begun.Add(followEvery/2 - plainEvery) // at the second look: by then a tracker that is up has answered
	}
	return f
}

// columns is the width of the terminal that w is; 0 if it is none, or one on
// which nothing can be drawn.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil || n <= 0 {
		return 80
	}
	return n
}

// until looks at a torrent, by its ID, until over says that this is it, and
// returns what it was then. A torrent that cannot come to that is an error, and
// so is the end of timeout (0 for no limit), with exitTimeout.
func (f *follower) until(ctx context.Context, id string, timeout time.Duration, over func(control.Download) bool) (control.Download, error) {
	defer f.clear()
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		d, err := f.look(ctx, id)
		switch {
		case err != nil:
			return d, err
		case over(d):
			return d, nil
		case d.State == control.Failed, d.State == control.Missing, d.State == control.Paused:
			return d, errors.Join(f.event(eventFailed, d), fmt.Errorf("%s: %s", printable(d.Name), stoppedText(d)))
		}
		if err := f.tell(d, time.Now()); err != nil {
			return d, err
		}
		select {
		case <-tick.C:
		case <-expired:
			err := fmt.Errorf("%s: %s done after %s", printable(d.Name), percent(d), timeout)
			return d, errors.Join(f.event(eventTimeout, d), &exitError{code: exitTimeout, err: err})
		case <-ctx.Done():
			return d, ctx.Err()
		}
	}
}

// stoppedText is why a download does not go on.
func stoppedText(d control.Download) string {
	if d.Note != "" {
		return printable(d.Note)
	}
	return string(d.State) + ", " + percent(d) + " done"
}

func (f *follower) look(ctx context.Context, id string) (control.Download, error) {
	list, err := f.api.Downloads(ctx)
	if err != nil {
		return control.Download{}, err
	}
	for _, d := range list {
		if d.ID == id {
			return d, nil
		}
	}
	return control.Download{}, errors.New("it was removed meanwhile")
}

// tell draws the bar, or writes a line now and then.
func (f *follower) tell(d control.Download, now time.Time) error {
	switch {
	case f.json:
		if d.Done == f.last.Done && d.State == f.last.State && d.Note == f.last.Note && now.Sub(f.told) < plainEvery {
			return nil
		}
		f.last, f.told = d, now
		return f.event(eventProgress, d)
	case f.term > 0:
		line := barLine(d, f.term)
		f.note(d, line)
		f.draw(line)
		f.last = d
		return nil
	case now.Sub(f.told) < plainEvery:
		return nil
	}
	f.last, f.told = d, now
	_, err := fmt.Fprintln(f.err, plainLine(d))
	return err
}

// event writes a line of JSON, if that is wanted.
func (f *follower) event(what string, d control.Download) error {
	if !f.json {
		return nil
	}
	return writeLine(f.out, event{what, d})
}

// note writes what stands in the way above a bar that has no room for it, once it
// has stood for a look.
func (f *follower) note(d control.Download, line string) {
	note := printable(d.Note)
	if d.Note != f.last.Note || note == f.noted || strings.Contains(line, note) {
		return
	}
	f.clear()
	f.noted = note
	_, _ = fmt.Fprintf(f.err, "%s: %s\n", printable(d.Name), note)
}

func (f *follower) draw(line string) {
	n := utf8.RuneCountInString(line)
	_, _ = fmt.Fprintf(f.err, "\r%s%s", line, strings.Repeat(" ", max(f.width-n, 0))) // a terminal that is gone is no reason to stop
	f.width = n
}

// clear takes the bar away, so that what is written next starts a fresh line.
func (f *follower) clear() {
	if f.width > 0 {
		f.draw("")
		_, _ = io.WriteString(f.err, "\r")
		f.width = 0
	}
}

// barLine is a download on one line of a terminal, which it does not fill: a
// cursor behind the last column would begin the next.
func barLine(d control.Download, columns int) string {
	name := []rune(printable(d.Name))
	if len(name) > maxBarName {
		name = append(name[:maxBarName-1], '…')
	}
	rest := fmt.Sprintf("%4s %s", percent(d), plainRest(d))
	line := string(name) + " " + rest
	if columns >= narrow {
		full := barWidth
		if d.Size > 0 {
			full = int(d.Done * barWidth / d.Size)
		}
		line = fmt.Sprintf("%s [%s%s] %s", string(name), strings.Repeat("#", full), strings.Repeat(".", barWidth-full), rest)
	}
	if r := []rune(line); len(r) >= columns {
		line = string(r[:max(columns-1, 0)])
	}
	return line
}

func plainLine(d control.Download) string {
	return fmt.Sprintf("%s %s of %s, %s", printable(d.Name), percent(d), bytesText(d.Size), plainRest(d))
}

// plainRest says how fast it comes, from how many and for how long yet, or what
// stands in the way.
func plainRest(d control.Download) string {
	text := fmt.Sprintf("%s, %s", rateText(d.DownRate), count(d.Peers, "peer"))
	if d.State == control.Seeding {
		text = fmt.Sprintf("up %s, %s sent, %s", rateText(d.UpRate), bytesText(d.Sent), count(d.Peers, "peer"))
	}
	if _, ok := d.Left(); ok {
		text += ", " + leftText(d) + " left"
	}
	if d.Note != "" {
		text += " (" + printable(d.Note) + ")"
	}
	return text
}
