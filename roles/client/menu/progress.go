package menu

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Hashing that is over within a second needs no progress line; after that, a
// few strokes a second are as much as an eye can follow.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// progress draws how far a file is hashed on the current line of a terminal.
type progress struct {
	w     io.Writer
	name  string
	begun time.Time

	mu    sync.Mutex // report may be called from any goroutine
	drawn time.Time
	width int // columns in use, to be wiped
}

func newProgress(w io.Writer, name string) *progress {
	return &progress{w: w, name: Printable(name), begun: time.Now()}
}

// report is what control.API's Share calls.
func (p *progress) report(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	elapsed := now.Sub(p.begun)
	if elapsed < progressAfter || now.Sub(p.drawn) < progressEvery || total <= 0 {
		return
	}
	p.drawn = now
	text := fmt.Sprintf("hashing %s %d%% of %s, %s", p.name, done*100/total, Size(total), rate(float64(done)/elapsed.Seconds()))
	p.draw(text)
}

// clear wipes the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.width > 0 {
		p.draw("")
		_, _ = io.WriteString(p.w, "\r")
	}
}

func (p *progress) draw(text string) {
	n := utf8.RuneCountInString(text)
	_, _ = fmt.Fprintf(p.w, "\r%s%s", text, strings.Repeat(" ", max(p.width-n, 0)))
	p.width = n
}
