//go:build unix

package screentest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// patience bounds each wait. It is for machines that crawl, not a measure.
const patience = 2 * time.Minute

// Keys as a terminal sends them.
const (
	Enter  = "\r"
	Tab    = "\t"
	CtrlC  = "\x03"
	CtrlD  = "\x04"
	CtrlZ  = "\x1a"
	Up     = "\x1b[A"
	Down   = "\x1b[B"
	Left   = "\x1b[D"
	Delete = "\x7f"
)

// Pasted is text as a terminal sends it that is pasted into.
func Pasted(text string) string { return "\x1b[200~" + text + "\x1b[201~" }

// Terminal is a terminal of one test. Its methods fail the test.
type Terminal struct {
	// Program is what a program in this process takes for its terminal.
	Program *os.File

	t      testing.TB
	ctx    context.Context //nolint:containedctx // of the test
	person *os.File

	mu      sync.Mutex
	screen  *vt.Emulator
	raw     strings.Builder // all that was written to it
	changed chan struct{}   // closed at the next write
}

// New opens a terminal of that many columns and rows, and closes it with the
// test.
func New(t testing.TB, columns, rows int) *Terminal {
	t.Helper()
	person, program, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudoterminals here: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the test's patience has ended"))
	x := &Terminal{Program: program, t: t, ctx: ctx, person: person, screen: vt.NewEmulator(columns, rows), changed: make(chan struct{})}
	x.size(columns, rows)
	var both sync.WaitGroup
	both.Go(x.show)
	both.Go(func() { _, _ = io.Copy(person, x.screen) }) // what the terminal answers when it is asked
	t.Cleanup(func() {
		cancel()
		_ = program.Close() // closed by Start, as a rule
		_ = person.Close()
		_ = x.screen.InputPipe().(io.Closer).Close() // ends what answers; Close would race with it
		both.Wait()
	})
	return x
}

// Start starts a program on the terminal, which is a session of its own. It is
// killed with the test.
func (x *Terminal) Start(cmd *exec.Cmd) {
	x.t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.Program, x.Program, x.Program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	_ = x.Program.Close() // the program has its own
	x.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // if the test has not
	})
}

// show writes what comes to the screen.
func (x *Terminal) show() {
	buf := make([]byte, 32<<10)
	for {
		n, err := x.person.Read(buf)
		x.mu.Lock()
		_, _ = x.screen.Write(buf[:n])
		x.raw.Write(buf[:n])
		close(x.changed)
		x.changed = make(chan struct{})
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type presses keys.
func (x *Terminal) Type(keys ...string) {
	x.t.Helper()
	if _, err := io.WriteString(x.person, strings.Join(keys, "")); err != nil {
		x.t.Fatal(err)
	}
}

// Resize makes the terminal another size.
func (x *Terminal) Resize(columns, rows int) {
	x.t.Helper()
	x.mu.Lock()
	x.screen.Resize(columns, rows)
	x.mu.Unlock()
	x.size(columns, rows)
}

func (x *Terminal) size(columns, rows int) {
	x.t.Helper()
	if err := pty.Setsize(x.person, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		x.t.Fatal(err)
	}
}

// Screen is what is seen: rows without the spaces at their ends, and without the
// empty ones below.
func (x *Terminal) Screen() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	rows := strings.Split(x.screen.String(), "\n")
	last := 0
	for i, row := range rows {
		if rows[i] = strings.TrimRight(row, " "); rows[i] != "" {
			last = i + 1
		}
	}
	return rows[:last]
}

// Raw is all that was ever written to the terminal.
func (x *Terminal) Raw() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw.String()
}

// Until waits until the screen is as wanted, and returns it.
func (x *Terminal) Until(wanted string, ok func(rows []string) bool) []string {
	x.t.Helper()
	for {
		x.mu.Lock()
		changed := x.changed
		x.mu.Unlock()
		rows := x.Screen()
		if ok(rows) {
			return rows
		}
		select {
		case <-changed:
		case <-x.ctx.Done():
			x.t.Fatalf("waited for %s; the screen shows\n%s", wanted, strings.Join(rows, "\n"))
		}
	}
}

// Shows waits until one row holds the text.
func (x *Terminal) Shows(text string) []string {
	x.t.Helper()
	return x.Until("\""+text+"\"", func(rows []string) bool { return Row(rows, text) >= 0 })
}

// Ends waits until the last row is line.
func (x *Terminal) Ends(line string) []string {
	x.t.Helper()
	return x.Until("\""+line+"\" in the last row", func(rows []string) bool { return len(rows) > 0 && rows[len(rows)-1] == line })
}

// Row is the first row that holds the text, or -1.
func Row(rows []string, text string) int {
	for i, row := range rows {
		if strings.Contains(row, text) {
			return i
		}
	}
	return -1
}
