package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// hashProgress is one line on a terminal that says how far hashing is. It
// stays silent for the first second, after which most files are done, and off
// a terminal altogether.
type hashProgress struct {
	w     io.Writer // nil off a terminal
	now   func() time.Time
	start time.Time
	shown time.Time // when the line was last drawn
	width int       // of the line that stands there, in bytes
}

const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

func newHashProgress(w io.Writer) *hashProgress {
	p := &hashProgress{now: time.Now, start: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

// update takes progress as torrentfmt tells it. A terminal that cannot be
// written to is no reason to stop.
func (p *hashProgress) update(done, total int64) {
	now := p.now()
	if p.w == nil || now.Sub(p.start) < progressAfter || now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	rate := float64(done) / now.Sub(p.start).Seconds()
	line := fmt.Sprintf("hashed %s of %s, %d %%, %s/s",
		humanize.IBytes(uint64(done)), humanize.IBytes(uint64(total)), done*100/total, humanize.IBytes(uint64(rate)))
	_, _ = fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = max(p.width, len(line))
}

// clear takes the line away, so that what is written next starts a fresh one.
func (p *hashProgress) clear() {
	if p.width > 0 {
		_, _ = fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
