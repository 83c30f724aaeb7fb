// Package screen owns the screen of a client's menu: the line that is being
// typed, with history and completion, the running downloads as bars above it,
// and everything that is said above these. What the lines mean is the business
// of package menu, which reads them here as it reads a pipe.
//
// A terminal that breaks its rows anew when it gets narrower leaves what it broke
// of a bar above; the line that is being typed and what is drawn next are right.
package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/menu"
)

// framesASecond bounds what is drawn, for slow links: a frame holds only what has
// changed since the last.
const framesASecond = 12

// waiting bounds the lines that are typed or pasted ahead while a command runs.
const waiting = 1000

// ErrInterrupted is what Run returns when the user wants to leave by Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// Options are what Run needs.
type Options struct {
	In  *os.File // a terminal
	Out *os.File // a terminal
	API control.API
	// History is the file that keeps what was typed; empty for none.
	History string
	// Divert, if not nil, is given a writer for lines that would else be
	// written to the terminal by others, such as a log, and returns what ends
	// that.
	Divert func(w io.Writer) (restore func())
}

// Able reports whether a terminal of this kind (the value of TERM) can be drawn
// on; else the plain prompt of package menu is for it.
func Able(term string) bool { return term != "dumb" && term != "" }

// Run is menu.Run on a terminal, with [ErrInterrupted] besides.
func Run(ctx context.Context, o Options) (menu.Result, error) {
	home, _ := os.UserHomeDir() // without one, ~ is an ordinary character
	past := openHistory(o.History)
	defer past.close()
	typed := &lines{queue: make(chan string, waiting), ended: make(chan struct{})}
	s := &above{out: o.Out, drawn: make(chan struct{})}
	// The menu ends the program, and the program's end by the user ends the menu.
	attended, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	m := newModel(attended, o.API, past, home)
	m.push, m.end, m.say = typed.push, typed.end, s.say
	m.width = func(w int) { s.width.Store(int64(w)) }
	p := tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(terminal{o.Out, s}), tea.WithFilter(s.take),
		tea.WithoutSignalHandler(), tea.WithFPS(framesASecond))
	s.program = p
	var result menu.Result
	var menuErr error
	var both sync.WaitGroup
	both.Go(func() {
		said := &whole{above: s}
		result, menuErr = menu.Run(attended, menu.Options{In: typed, Out: said, Err: said, Terminal: true, Screen: s, API: o.API})
		p.Send(leaveMsg{})
	})
	restore := func() {}
	if o.Divert != nil {
		restore = o.Divert(&whole{above: s})
	}
	last, err := p.Run()
	s.end()
	restore()
	switch m, ok := last.(model); {
	case err != nil:
		err = fmt.Errorf("menu: the terminal cannot be drawn on: %w", err)
		leave(err)
	case ok && m.interrupted:
		err = ErrInterrupted
		leave(err)
	}
	typed.end()
	both.Wait()
	if err != nil {
		return result, err
	}
	return result, menuErr
}

// lines are what was typed, as an io.Reader for the menu.
type lines struct {
	queue chan string
	ended chan struct{}
	once  sync.Once
	rest  []byte
}

// push queues a line; false when too many wait.
func (l *lines) push(line string) bool {
	select {
	case l.queue <- line:
		return true
	default:
		return false
	}
}

// end has Read answer io.EOF once all that was typed is read.
func (l *lines) end() { l.once.Do(func() { close(l.ended) }) }

func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		select {
		case line := <-l.queue:
			l.take(line)
		default:
			select {
			case line := <-l.queue:
				l.take(line)
			case <-l.ended:
				return 0, io.EOF
			}
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lines) take(line string) { l.rest = append([]byte(line), '\n') }
