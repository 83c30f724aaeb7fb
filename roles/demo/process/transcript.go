package process

import (
	"bufio"
	"io"
	"sync"
)

// Stream tells a child's two outputs apart.
type Stream int

// The outputs of a child.
const (
	Stdout Stream = iota
	Stderr
)

// Line is one line that a child wrote.
type Line struct {
	Index  int // position among all lines of the child, from 0
	Stream Stream
	Text   string // without the line's end
}

const (
	// maxLines bounds what is kept of a child that writes without end; the
	// oldest lines go first. A menu's answer is looked for at once, so far
	// fewer would do.
	maxLines = 10_000
	// maxLineLen bounds a line in bytes: a path of 4,096 bytes, quoted, and
	// some words. Longer lines are cut into several.
	maxLineLen = 64 << 10
)

// transcript keeps the last lines of a child and wakes those who wait for the
// next one.
type transcript struct {
	mu      sync.Mutex
	first   int // index of lines[0]
	lines   []Line
	changed chan struct{} // closed and replaced at each new line
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

// copy adds r's lines until it ends, which it does when the child does.
func (t *transcript) copy(s Stream, r io.Reader) {
	buf := bufio.NewReaderSize(r, maxLineLen)
	for {
		line, _, err := buf.ReadLine()
		if err != nil {
			return
		}
		t.add(s, string(line))
	}
}

func (t *transcript) add(s Stream, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, Line{Index: t.first + len(t.lines), Stream: s, Text: text})
	if over := len(t.lines) - maxLines; over > 0 {
		t.lines = t.lines[over:]
		t.first += over
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// end is the index that the next line will have.
func (t *transcript) end() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first + len(t.lines)
}

// since returns the kept lines from index from on, and a channel that is
// closed when there is a newer one. The slice is never written to again.
func (t *transcript) since(from int) ([]Line, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	skip := min(max(0, from-t.first), len(t.lines))
	return t.lines[skip:len(t.lines):len(t.lines)], t.changed
}
