// Package menu owns the commands that a user types at a client, or pipes into
// it: one a line, in words as a shell has them. It parses them, hands them to a
// [control.API] and writes the answers.
//
// Piped, an answer is one line on Out (show downloads: one for each torrent),
// an error is one line "error: <what> : <why>" on Err, and the end of input
// after at least one command means: wait for the downloads, then quit. On a
// terminal there is a prompt, and the end of input (Ctrl-D) is quit. Lines
// that are empty or begin with # are passed over.
package menu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// Prompt is what a terminal shows before a command.
const Prompt = "mtor> "

// Screen is a terminal on which somebody else draws.
type Screen interface {
	// Width is in columns, 0 when it is not known.
	Width() int
	// Begin is told the line that is carried out next, before its answer.
	Begin(line string)
	// Progress tells how far a file is hashed; a total of 0 ends it.
	Progress(name string, done, total int64)
}

// Options are what Run needs.
type Options struct {
	In  io.Reader
	Out io.Writer // answers
	Err io.Writer // errors and warnings
	// Terminal says that a person types: there is a prompt, progress is
	// drawn on Err, and the end of input is quit.
	Terminal bool
	// Screen, if not nil, goes with Terminal: prompt and progress are left to
	// it, and what is shown is as wide as it.
	Screen Screen
	API    control.API
}

// Result is what a run of the menu came to.
type Result struct {
	// Commands counts what was typed. When input ended before any command,
	// it is 0 and Quit is false: the caller serves without a menu.
	Commands int
	// Failed counts errors that were written; not 0 means exit code 1.
	Failed int
	// Quit says that the API's Quit was called, by the command or by the end
	// of input.
	Quit bool
}

// Run reads commands until quit, the end of In, or the end of ctx, whose cause
// is then the error, at once even while In has nothing to read. Failed
// commands are no error of Run. A read of In that is still blocked when Run
// returns is left to end with In.
func Run(ctx context.Context, o Options) (Result, error) {
	s := session{Options: o, reported: map[string]bool{}}
	s.home, _ = os.UserHomeDir() // without one, ~ is an ordinary character
	lines, done := make(chan line), make(chan struct{})
	defer close(done)
	go readLines(o.In, lines, done)
	for {
		if o.Terminal && o.Screen == nil {
			_, _ = io.WriteString(o.Out, Prompt)
		}
		select {
		case <-ctx.Done():
			return s.stop(ctx)
		case l := <-lines:
			if o.Screen != nil && !errors.Is(l.err, io.EOF) {
				o.Screen.Begin(l.text)
			}
			over := s.line(ctx, l)
			switch {
			case s.result.Quit: // even if ctx has ended with the client
				return s.result, nil
			case ctx.Err() != nil:
				return s.stop(ctx)
			case over:
				return s.result, nil
			}
		}
	}
}

// session is one run of the menu.
type session struct {
	Options
	home     string
	result   Result
	reported map[string]bool // failed downloads that have had their line, by .mtorrent
}

func (s *session) stop(ctx context.Context) (Result, error) {
	if s.Terminal && s.Screen == nil {
		_, _ = fmt.Fprintln(s.Out) // the shell's prompt gets its own line
	}
	return s.result, context.Cause(ctx)
}

// line does what a line of input asks, and says whether it was the last.
func (s *session) line(ctx context.Context, l line) (over bool) {
	switch {
	case l.err == nil:
		return s.command(ctx, l.text)
	case errors.Is(l.err, errLong):
		s.result.Commands++
		s.fail("line", l.err)
		return false
	case !errors.Is(l.err, io.EOF):
		s.fail("input", l.err)
	}
	if s.Terminal {
		if s.Screen == nil {
			_, _ = fmt.Fprintln(s.Out)
		}
		s.quit(ctx)
		return true
	}
	if s.result.Commands > 0 {
		s.wait(ctx, 0, true)
		if ctx.Err() == nil {
			s.quit(ctx)
		}
	}
	return true
}

// command carries out one line, and says whether it was quit.
func (s *session) command(ctx context.Context, text string) (over bool) {
	c, err := parse(text, s.home)
	if err != nil {
		s.result.Commands++
		s.fail("", err)
		return false
	}
	if c.verb == "" {
		return false
	}
	s.result.Commands++
	switch c.verb {
	case "share":
		s.share(ctx, c.args[0], c.args[1])
	case "get":
		s.get(ctx, c.args[0], c.args[1])
	case "show downloads":
		s.show(ctx)
	case "show peers":
		s.peers(ctx, c.args[0])
	case "pause":
		d, err := s.API.Pause(ctx, c.args[0])
		s.state(ctx, c.verb, d, err)
	case "resume":
		d, err := s.API.Resume(ctx, c.args[0])
		s.state(ctx, c.verb, d, err)
	case "relocate":
		s.relocate(ctx, c.args[0], c.args[1])
	case "remove":
		if left, err := s.API.Remove(ctx, c.args[0]); err != nil {
			s.failed(ctx, c.verb, err)
		} else {
			s.answer("%s", removedLine(c.args[0], left))
		}
	case "limit":
		s.limit(ctx, c.limited, c.limits)
	case "wait":
		s.wait(ctx, c.timeout, false)
	case "help":
		printHelp(s.Out, c.about, s.width())
	case "quit":
		s.quit(ctx)
		return true
	}
	return false
}

func (s *session) share(ctx context.Context, path, mtorrent string) {
	report, end := s.progress(filepath.Base(path))
	d, err := s.API.Share(ctx, path, mtorrent, report)
	end()
	if err != nil {
		s.failed(ctx, "share", err)
		return
	}
	s.answer("%s", sharedLine(d))
	s.warn(d)
}

// progress is what is told how far a file is hashed, nil for nobody, and what
// ends it.
func (s *session) progress(name string) (report func(done, total int64), end func()) {
	switch {
	case !s.Terminal:
		return nil, func() {}
	case s.Screen == nil:
		drawn := newProgress(s.Err, name)
		return drawn.report, drawn.clear
	}
	return func(done, total int64) { s.Screen.Progress(name, done, total) },
		func() { s.Screen.Progress(name, 0, 0) }
}

func (s *session) relocate(ctx context.Context, name, path string) {
	report, end := s.progress(filepath.Base(path))
	d, err := s.API.Relocate(ctx, name, path, report)
	end()
	s.state(ctx, "relocate", d, err)
}

// state answers a command after which a torrent stands as d says.
func (s *session) state(ctx context.Context, verb string, d control.Download, err error) {
	if err != nil {
		s.failed(ctx, verb, err)
		return
	}
	s.answer("%s", showLine(d))
}

func (s *session) peers(ctx context.Context, name string) {
	list, err := s.API.Peers(ctx, name)
	switch {
	case err != nil:
		s.failed(ctx, "show peers", err)
	case len(list) == 0:
		s.answer("no peers")
	case s.Terminal:
		s.table(peerTable(list))
	default:
		for _, p := range list {
			s.answer("%s", peerLine(p))
		}
	}
}

func (s *session) get(ctx context.Context, mtorrent, dest string) {
	d, err := s.API.Get(ctx, mtorrent, dest)
	if err != nil {
		s.failed(ctx, "get", err)
		return
	}
	s.answer("%s", gotLine(d)) // its note is that it waits for peers, as all do at first
}

func (s *session) show(ctx context.Context) {
	list, err := s.API.Downloads(ctx)
	if err != nil {
		s.failed(ctx, "show downloads", err)
		return
	}
	switch {
	case len(list) == 0:
		s.answer("no downloads")
	case s.Terminal:
		s.table(downloadTable(list))
	default:
		for _, d := range list {
			s.answer("%s", showLine(d))
		}
	}
}

// wait answers when no download runs, with a line for each that failed. The
// last wait, at the end of input, says nothing that an earlier one has said.
func (s *session) wait(ctx context.Context, timeout time.Duration, last bool) {
	list, err := s.API.Wait(ctx, timeout)
	if err != nil && !errors.Is(err, control.ErrUnfinished) {
		s.failed(ctx, "wait", err)
		return
	}
	bad := 0
	for _, d := range list {
		if d.Whole() {
			continue
		}
		bad++
		if last && s.reported[d.Mtorrent] {
			continue
		}
		s.reported[d.Mtorrent] = true
		s.fail("", &commandError{what: d.Name, why: unfinished(d, timeout)})
	}
	switch {
	case bad > 0:
	case err != nil: // the API knows of some that run and lists none
		s.failed(ctx, "wait", err)
	case len(list) > 0:
		s.answer("%s complete", count(len(list), "download"))
	case !last:
		s.answer("no download is running")
	}
}

// unfinished says why a download was not complete after a wait.
func unfinished(d control.Download, timeout time.Duration) string {
	if d.State == control.Failed || d.State == control.Missing || d.State == control.Paused {
		return why(d)
	}
	text := "unfinished, " + percent(d) + " done"
	if timeout > 0 {
		text += " after " + timeout.String()
	}
	if d.Note != "" {
		text += " (" + d.Note + ")"
	}
	return text
}

// quit is counted even when it fails: the caller ends the client all the same.
func (s *session) quit(ctx context.Context) {
	s.result.Quit = true
	if err := s.API.Quit(ctx); err != nil {
		s.failed(ctx, "quit", err)
	}
}

// table writes rows as wide as the screen.
func (s *session) table(t table) {
	for _, line := range t.lines(s.width()) {
		s.answer("%s", line)
	}
}

// width is the screen's, 0 when it is not known.
func (s *session) width() int {
	if s.Screen == nil {
		return 0
	}
	return s.Screen.Width()
}

func (s *session) answer(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Out, format+"\n", args...)
}

// warn says what stands in the way of a file that is shared all the same.
func (s *session) warn(d control.Download) {
	if d.Note != "" {
		_, _ = fmt.Fprintf(s.Err, "warning: %s : %s\n", Printable(d.Name), Printable(d.Note))
	}
}

// failed is fail for the API's errors: those that only tell of the end of ctx
// are left to Run's caller.
func (s *session) failed(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.fail(what, err)
	}
}

func (s *session) fail(what string, err error) {
	s.result.Failed++
	printError(s.Err, what, err)
}
