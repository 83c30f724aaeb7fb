package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudoterminal: whoever holds the first end is the person,
// the second is what a program is started on.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudoterminals here: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() }) // closed by the test, as a rule
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

func TestHangupReopensTheLogWhileTheTerminalIsThereAndEndsTheProgramWhenItCloses(t *testing.T) {
	for name, args := range map[string][]string{
		"tracker":                   {"tracker", "127.0.0.1:0", nobody(t), "t.db", "role.log"},
		"client":                    {"client", "127.0.0.1:0", nobody(t), nobody(t), "role.log", "--state", "s", "--no-menu"},
		"client, at its menu":       {"client", "127.0.0.1:0", nobody(t), nobody(t), "role.log", "--state", "s"},
		"client, at its drawn menu": {"client", "127.0.0.1:0", nobody(t), nobody(t), "role.log", "--state", "s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, dir := patient(t), t.TempDir()
			log := filepath.Join(dir, "role.log")
			person, program := terminal(t)
			exe, err := exec.LookPath("mtor")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(ctx, exe, args...)
			cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, program, program, program
			kind := "TERM=dumb"
			if strings.Contains(name, "drawn") {
				kind = "TERM=xterm"
			}
			cmd.Env = append(os.Environ(), raceEnv, kind, "NO_COLOR=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = program.Close()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait() // the state tells
			}()
			out := bufio.NewReader(person)
			for line := ""; !strings.Contains(line, "ready on "); {
				if line, err = out.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for !said(log, "log file reopened") {
				select {
				case <-tick.C:
				case <-ended:
					t.Fatalf("it has ended: %v", cmd.ProcessState)
				case <-ctx.Done():
					t.Fatal("the log was not reopened")
				}
			}
			if err := person.Close(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-ctx.Done():
				t.Fatal("it outlives its terminal")
			}
			// At the menu, commands that might have come were cut off: no success.
			if code := cmd.ProcessState.ExitCode(); code != 0 && (code < 0 || !strings.HasSuffix(name, "menu")) {
				t.Errorf("it did not end in order: %v", cmd.ProcessState)
			}
		})
	}
}

// said reports whether a log holds a text.
func said(log, text string) bool {
	b, err := os.ReadFile(log)
	return err == nil && strings.Contains(string(b), text)
}

func TestFollowedDownloadIsABarOnATerminalAndLinesWhereNothingCanBeDrawn(t *testing.T) {
	for term, bar := range map[string]bool{"xterm": true, "dumb": false} {
		t.Run(term, func(t *testing.T) {
			t.Parallel()
			ctx, dir := patient(t), t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "data"), []byte("nobody shares this"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, errs, code := runIn(ctx, t, dir, "torrent", "create", "data", "x.mtorrent", "--tracker", nobody(t), "--tracker", nobody(t)); code != 0 {
				t.Fatal(errs)
			}
			person, program := terminal(t)
			exe, err := exec.LookPath("mtor")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(ctx, exe, "client", "get", "x.mtorrent", "copy", "--alone", "--timeout", "1s")
			cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, program, program, program
			cmd.Env = append(os.Environ(), raceEnv, "TERM="+term)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = program.Close()
			all, _ := io.ReadAll(person) // its end is an error of the terminal
			_ = cmd.Wait()               // the state tells
			text := string(all)
			if drawn := strings.Contains(text, "\rdata [........................]   0% 0 B/s, 0 peers"); drawn != bar {
				t.Errorf("a bar: %v, want %v: %q", drawn, bar, text)
			}
			if code := cmd.ProcessState.ExitCode(); code != exitTimeout || !strings.Contains(text, "error: data: 0% done after 1s") {
				t.Errorf("exit code %d: %q", code, text)
			}
		})
	}
}
