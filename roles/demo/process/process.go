// Package process owns one child process that runs mtor: it starts it, waits
// for its ready line, types commands into its menu, and ends it. No child
// outlives its [Process]: whoever starts one calls [Process.Kill] on every way
// out.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// Spec says what to run.
type Spec struct {
	Name string   // in errors: "tracker 1"
	Exe  string   // path of the mtor binary
	Args []string // without the program's name
	Dir  string   // working directory
	Env  []string // added to this process's environment without its MTOR_*, "KEY=value"
}

// Process is a running child. Its methods may be called from several
// goroutines, but Ask only by one at a time.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	log  *transcript
	done chan struct{} // closed when the child has been waited for
	err  error         // cmd.Wait's answer, once done is closed
}

// ExitError says that a child ended when it should have gone on, or with
// another code than 0.
type ExitError struct {
	Name  string // the Spec's
	State string // "exit status 1", "signal: killed"
	Said  string // the end of what it wrote on stderr
}

func (e *ExitError) Error() string {
	if e.Said == "" {
		return fmt.Sprintf("%s ended: %s", e.Name, e.State)
	}
	return fmt.Sprintf("%s ended: %s: %s", e.Name, e.State, e.Said)
}

// Refusal is an answer of the menu that starts with "error: ".
type Refusal struct {
	Name, Command string
	Said          string // without "error: "
}

func (e *Refusal) Error() string { return fmt.Sprintf("%s: %s: %s", e.Name, e.Command, e.Said) }

// Start runs spec with a pipe as its stdin.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Exe, spec.Args...)
	cmd.Dir = spec.Dir
	// The command line alone says what a child does, whoever's shell this is.
	ours := func(kv string) bool { return strings.HasPrefix(kv, "MTOR_") }
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ours), spec.Env...)
	cmd.SysProcAttr = attributes()
	p := &Process{name: spec.Name, cmd: cmd, log: newTranscript(), done: make(chan struct{})}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p.in = in
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.log.copy(Stdout, stdout) })
	readers.Go(func() { p.log.copy(Stderr, stderr) })
	go func() { // ends with the child; Kill and Wait wait for it
		readers.Wait()
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the child's process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and everything that it wrote has
// been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ready waits for the child's ready line ("tracker ready on <ip:port>" or
// "client ready on <ip:port>") and returns the address.
func (p *Process) Ready(ctx context.Context) (string, error) {
	line, err := p.Line(ctx, 0, func(l Line) bool {
		return strings.HasPrefix(l.Text, "tracker ready on ") || strings.HasPrefix(l.Text, "client ready on ")
	})
	if err != nil {
		return "", fmt.Errorf("wait for %s to be ready: %w", p.name, err)
	}
	_, addr, _ := strings.Cut(line.Text, " ready on ")
	return addr, nil
}

// ReadyAs is Ready for a child with another ready line: begin, then the address.
func (p *Process) ReadyAs(ctx context.Context, begin string) (string, error) {
	line, err := p.Line(ctx, 0, func(l Line) bool { return strings.HasPrefix(l.Text, begin) })
	if err != nil {
		return "", fmt.Errorf("wait for %s to be ready: %w", p.name, err)
	}
	return strings.TrimPrefix(line.Text, begin), nil
}

// Ask types one command into the menu and returns its answer, one line of
// stdout. A line "error: ..." on stderr instead comes back as a [*Refusal].
func (p *Process) Ask(ctx context.Context, command string) (string, error) {
	lines, err := p.AskLines(ctx, command, 1)
	if err != nil {
		return "", err
	}
	return lines[0], nil
}

// AskLines is Ask for a command that answers with n lines.
func (p *Process) AskLines(ctx context.Context, command string, n int) ([]string, error) {
	from := p.log.end()
	if err := p.Type(command); err != nil {
		return nil, err
	}
	var answers []string
	for len(answers) < n {
		line, err := p.Line(ctx, from, func(l Line) bool {
			return l.Stream == Stdout || strings.HasPrefix(l.Text, "error: ")
		})
		if err != nil {
			return nil, fmt.Errorf("%s: wait for the answer to %q: %w", p.name, command, err)
		}
		if line.Stream == Stderr {
			return nil, &Refusal{Name: p.name, Command: command, Said: strings.TrimPrefix(line.Text, "error: ")}
		}
		answers = append(answers, line.Text)
		from = line.Index + 1
	}
	return answers, nil
}

// Type writes one line to the child's stdin and does not wait for an answer.
func (p *Process) Type(line string) error {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return fmt.Errorf("type into %s: %w", p.name, err)
	}
	return nil
}

// CloseInput ends the child's stdin.
func (p *Process) CloseInput() {
	_ = p.in.Close() // a child that has ended already has closed it
}

// Line waits for the first line from index from on that ok accepts. It fails
// with an [*ExitError] when the child ends before it wrote one.
func (p *Process) Line(ctx context.Context, from int, ok func(Line) bool) (Line, error) {
	ended := false
	for {
		lines, changed := p.log.since(from)
		for _, l := range lines {
			if ok(l) {
				return l, nil
			}
			from = l.Index + 1
		}
		if ended {
			return Line{}, p.exitError()
		}
		select {
		case <-changed:
		case <-p.done:
			ended = true // one more look: its last lines are in by now
		case <-ctx.Done():
			return Line{}, context.Cause(ctx)
		}
	}
}

// Wait waits for the child to end by itself. The error is nil after exit code
// 0, else an [*ExitError], or ctx's.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end: %w", p.name, context.Cause(ctx))
	}
	if p.err != nil {
		return p.exitError()
	}
	return nil
}

// ExitCode is the code that the child ended with, -1 while it runs or when a
// signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Signal sends sig to the child. A child that has ended is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill ends the child at once (SIGKILL) and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only when the child has ended
	p.CloseInput()
	<-p.done
}

// Output returns what the child has written so far to one of its streams.
func (p *Process) Output(s Stream) []string {
	all, _ := p.log.since(0)
	var texts []string
	for _, l := range all {
		if l.Stream == s {
			texts = append(texts, l.Text)
		}
	}
	return texts
}

// errorLines is how many of a child's last lines an ExitError repeats.
const errorLines = 3

func (p *Process) exitError() error {
	said := p.Output(Stderr)
	said = slices.DeleteFunc(said, func(l string) bool { return strings.HasPrefix(l, "client ready on ") })
	said = said[max(0, len(said)-errorLines):]
	return &ExitError{Name: p.name, State: p.cmd.ProcessState.String(), Said: strings.Join(said, "; ")}
}
