package screen

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/mtor-dev/mtor/roles/client/menu"
)

// above puts lines above the bars, and on the bare terminal once the program has
// ended. It is the [menu.Screen].
type above struct {
	out     *os.File
	program *tea.Program
	width   atomic.Int64  // of the terminal, columns
	drawn   chan struct{} // closed with the first frame, which lines go above
	first   sync.Once

	mu    sync.Mutex
	queue []string // rows that the program has not taken yet
	over  bool
	told  time.Time // when progress was last told
}

// rowMsg has the program take the oldest row of the queue.
type rowMsg struct{}

// begunMsg says that the menu has begun with a line.
type begunMsg struct{}

// whole says the lines that are written to it, each when it is whole. It is for
// one goroutine at a time.
type whole struct {
	above *above
	rest  []byte
}

func (w *whole) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	if i := bytes.LastIndexByte(w.rest, '\n'); i >= 0 {
		text := string(w.rest[:i])
		w.rest = append(w.rest[:0], w.rest[i+1:]...)
		w.above.say(text)
	}
	return len(p), nil
}

// say puts lines above the bars, after all that was said before, and returns
// when they are there.
func (s *above) say(text string) {
	<-s.drawn
	rows := wrap(text, s.Width())
	s.mu.Lock()
	if s.over {
		defer s.mu.Unlock()
		_, _ = io.WriteString(s.out, text+"\n")
		return
	}
	s.queue = append(s.queue, rows...)
	s.mu.Unlock()
	for range rows {
		s.program.Send(rowMsg{}) // of a program that has ended: end writes what is left
	}
}

// wrap cuts lines into rows that are shorter than the terminal is wide: the
// library loses the last column of others, and counts too many.
func wrap(text string, width int) []string {
	if width == 0 {
		width = usualWidth - 1
	}
	return strings.Split(ansi.Hardwrap(text, width, true), "\n")
}

// take is a filter of messages: a row is printed by itself, since the library
// would lose the bars and the prompt to more rows than the terminal has.
func (s *above) take(_ tea.Model, msg tea.Msg) tea.Msg {
	if _, ok := msg.(rowMsg); !ok {
		return msg
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	row := s.queue[0]
	s.queue = s.queue[1:]
	if row == "" {
		row = " " // nothing is not printed
	}
	return tea.Println(row)()
}

// end writes what the program has not taken, and has what is said from now on
// written to the terminal as it is.
func (s *above) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, row := range s.queue {
		_, _ = io.WriteString(s.out, row+"\n")
	}
	s.queue = nil
	s.shown()
}

// shown lets lines be said.
func (s *above) shown() { s.first.Do(func() { close(s.drawn) }) }

// Width is [menu.Screen]'s: what is said that wide stays one row.
func (s *above) Width() int { return int(max(s.width.Load()-1, 0)) }

// Begin is [menu.Screen]'s.
func (s *above) Begin(line string) {
	s.say(menu.Prompt + shown(line))
	s.program.Send(begunMsg{})
}

// Progress is [menu.Screen]'s.
func (s *above) Progress(name string, done, total int64) {
	s.mu.Lock()
	now := time.Now()
	due := total == 0 || now.Sub(s.told) >= time.Second/framesASecond
	if due {
		s.told = now
	}
	s.mu.Unlock()
	if due {
		s.program.Send(progressMsg{name: name, done: done, total: total})
	}
}

// terminal is what the program draws on. It tells above of the first frame,
// which is the first that holds a prompt.
type terminal struct {
	*os.File
	above *above
}

func (t terminal) Write(p []byte) (int, error) {
	n, err := t.File.Write(p)
	if bytes.Contains(p, []byte(promptMark)) {
		t.above.shown()
	}
	return n, err
}
