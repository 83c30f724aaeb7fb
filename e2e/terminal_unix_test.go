//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/menu/screen/screentest"
)

// onTerminal starts a client on a terminal of its own. Its log goes where flags
// or the usual arguments say.
func (s *swarm) onTerminal(columns, rows int, env []string, args ...string) (*screentest.Terminal, *exec.Cmd) {
	s.Helper()
	x := screentest.New(s, columns, rows)
	cmd := exec.CommandContext(s.ctx, binary, args...)
	s.startOn(x, cmd, env)
	x.Until("a prompt", func(rows []string) bool { return len(rows) > 0 && strings.HasPrefix(rows[len(rows)-1], "mtor>") })
	return x, cmd
}

func (s *swarm) startOn(x *screentest.Terminal, cmd *exec.Cmd, env []string) {
	s.Helper()
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NO_COLOR=") }),
		"GORACE=halt_on_error=1", "HOME="+s.dir, "XDG_STATE_HOME="+s.path("xdg-state"), "XDG_RUNTIME_DIR="+s.dir, "TERM=xterm-256color")
	cmd.Env = append(cmd.Env, env...)
	x.Start(cmd)
}

// exits waits for a program on a terminal to end.
func (s *swarm) exits(cmd *exec.Cmd) int {
	s.Helper()
	_ = cmd.Wait() // the state tells
	return cmd.ProcessState.ExitCode()
}

// slowly shares data.bin from a client that sends little, so that there is time to
// look on.
func slowly(t *testing.T) (*swarm, *client) {
	t.Helper()
	s := newSwarm(t)
	s.write("data.bin", 120*pieceSize, 1)
	sharer := s.client(10, "sharer", "--upload-limit", "1MB")
	sharer.do("share data.bin x.mtorrent")
	return s, sharer
}

func TestBarsMoveWhileALineIsTyped(t *testing.T) {
	t.Parallel()
	s, sharer := slowly(t)
	args := s.clientArgs(20, "downloader")
	args[4] = "-" // the log comes on the same terminal
	x, cmd := s.onTerminal(90, 30, nil, append(args, "--log-level", "debug")...)
	x.Type("get x.m", screentest.Tab)
	x.Ends("mtor> get x.mtorrent")
	x.Type("copy.bin", screentest.Enter)
	x.Shows("getting data.bin")
	bar := func(rows []string) string {
		if n := len(rows) - 2; n >= 0 && strings.HasPrefix(rows[n], "data.bin  ") {
			return rows[n]
		}
		return ""
	}
	last := ""
	typed := ""
	for _, key := range "show downl" {
		typed += string(key)
		x.Type(string(key))
		rows := x.Until("another bar above \""+typed+"\"", func(rows []string) bool {
			return bar(rows) != "" && bar(rows) != last && rows[len(rows)-1] == strings.TrimRight("mtor> "+typed, " ")
		})
		last = bar(rows)
		if n := strings.Count(strings.Join(rows, "\n"), "mtor> s"); n != 1 {
			t.Fatalf("%d prompts:\n%s", n, strings.Join(rows, "\n"))
		}
	}
	if !strings.Contains(x.Raw(), "\x1b[36m") {
		t.Error("the bar has no colour")
	}
	x.Type(screentest.Tab)
	const line = "show downloads"
	x.Ends("mtor> " + line)

	// Another size, and what was typed is still there.
	for _, size := range [][2]int{{44, 12}, {12, 6}, {100, 30}} {
		x.Resize(size[0], size[1])
		x.Until("the line in another size", func(rows []string) bool {
			if len(rows) < 2 || bar(rows) == "" && size[0] > 20 {
				return false
			}
			prompt, ok := strings.CutPrefix(rows[len(rows)-1], "mtor> ")
			if size[0] < 20 {
				prompt, ok = strings.CutPrefix(rows[len(rows)-1], "> ")
			}
			return ok && prompt != "" && strings.HasSuffix(line, prompt)
		})
	}
	x.Type(screentest.Enter)
	x.Shows("[D]  data.bin")

	// The first Ctrl-C asks, and another key takes it back.
	x.Type(screentest.CtrlC)
	x.Ends("1 transfer runs: Ctrl-C again quits, downloads go on at the next start")
	x.Type("x", screentest.Delete)
	x.Ends("mtor>")

	sharer.do("limit up none")
	x.Shows("complete data.bin: 60 MiB in ")
	rows := x.Until("no bar", func(rows []string) bool { return bar(rows) == "" })
	if n := strings.Count(strings.Join(rows, "\n"), "complete data.bin"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, strings.Join(rows, "\n"))
	}
	x.Type(screentest.CtrlD)
	if code := s.exits(cmd); code != 0 {
		t.Errorf("Ctrl-D ends it with %d", code)
	}
	s.same("data.bin", "copy.bin")

	// The history is there at the next start; Ctrl-C ends a client that does nothing.
	x, cmd = s.onTerminal(90, 30, nil, s.clientArgs(20, "downloader")...)
	x.Type(screentest.Up, screentest.Up)
	x.Ends("mtor> get x.mtorrent copy.bin")
	x.Type(screentest.Down)
	x.Ends("mtor> show downloads")
	x.Type(screentest.CtrlC, screentest.CtrlC)
	if code := s.exits(cmd); code != 130 {
		t.Errorf("Ctrl-C ends it with %d", code)
	}
}

func TestScreenOfARunningDownload(t *testing.T) {
	t.Parallel()
	s, sharer := slowly(t)
	x, cmd := s.onTerminal(90, 30, []string{"NO_COLOR=1"}, s.clientArgs(20, "downloader")...)
	x.Type("get x.mtorrent copy.bin", screentest.Enter)
	going := regexp.MustCompile(`(?m)^data\.bin  █.* 1 peer .*s$`)
	x.Until("a bar with the time left", func(rows []string) bool { return going.MatchString(strings.Join(rows, "\n")) })
	x.Type("show downloads", screentest.Enter)
	x.Shows("[D]  data.bin")
	x.Type("show peers x.mtorrent", screentest.Enter)
	x.Shows(sharer.addr)
	x.Type("pasue x.mtorrent", screentest.Enter)
	x.Shows("did you mean")
	x.Type(screentest.CtrlC)
	rows := x.Ends("1 transfer runs: Ctrl-C again quits, downloads go on at the next start")
	var got []string
	for _, row := range rows[1:] {
		row = strings.ReplaceAll(strings.ReplaceAll(row, s.dir, "DIR"), sharer.addr, "ADDR")
		row = regexp.MustCompile(`[█░]+`).ReplaceAllString(row, "BAR")
		row = regexp.MustCompile(` +[\d.]+ MB/s`).ReplaceAllString(row, " RATE")
		row = regexp.MustCompile(` +((\d+m)?\d+s|-)$`).ReplaceAllString(row, " TIME")
		row = regexp.MustCompile(` +\d+%`).ReplaceAllString(row, " DONE")
		row = strings.Replace(row, "DONE         -  ", "DONE RATE  ", 1) // nothing came in the last seconds
		row = regexp.MustCompile(`(120/120) .*`).ReplaceAllString(row, "$1 ...")
		row = regexp.MustCompile(` {2,}`).ReplaceAllString(row, "  ")
		got = append(got, row)
	}
	want := []string{
		"mtor> get x.mtorrent copy.bin",
		"getting data.bin: 60 MiB to DIR/copy.bin",
		"mtor> show downloads",
		"  NAME  SIZE  DONE  DOWN  UP  PEERS  LEFT",
		"[D]  data.bin  60 MiB DONE RATE  -  1 TIME",
		"mtor> show peers x.mtorrent",
		"PEER  BY  HAS  CAME  ASKED  DOWN  UP",
		"ADDR  tcp  120/120 ...",
		"mtor> pasue x.mtorrent",
		`error: pasue : unknown command, did you mean "pause"?`,
		"data.bin  BAR DONE RATE  1 peer TIME",
		"mtor>",
		"1 transfer runs: Ctrl-C again quits, downloads go on at the next start",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the screen shows\n%s\nwhich is\n%s", strings.Join(rows, "\n"), strings.Join(got, "\n"))
	}
	if m := regexp.MustCompile(`\x1b\[[\d;]*m`).FindAllString(x.Raw(), -1); slices.ContainsFunc(m, func(code string) bool {
		return regexp.MustCompile(`[\[;](3[0-8]|4[0-8]|9\d|10[0-7])[;m]`).MatchString(code)
	}) {
		t.Errorf("colours in spite of NO_COLOR: %q", m)
	}
	x.Type(screentest.CtrlC)
	if code := s.exits(cmd); code != 130 {
		t.Errorf("the second Ctrl-C ends it with %d", code)
	}
}

func TestDumbTerminalHasThePlainPrompt(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	x, cmd := s.onTerminal(100, 30, []string{"TERM=dumb"}, s.clientArgs(20, "client")...)
	x.Type("show downloads\n")
	x.Shows("no downloads")
	x.Ends("mtor>")
	x.Type(screentest.CtrlD)
	if code := s.exits(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(x.Raw(), "\x1b") {
		t.Errorf("a dumb terminal is told %q", x.Raw())
	}
}

func TestSuspendedMenuGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	s := newSwarm(t)
	x := screentest.New(t, 150, 30)
	s.startOn(x, exec.CommandContext(s.ctx, bash, "--norc", "--noprofile", "-i"), []string{"PS1=shell$ "})
	x.Ends("shell$")
	x.Type(binary+" "+strings.Join(s.clientArgs(20, "client"), " "), "\n")
	x.Ends("mtor>")
	x.Type("help qu")
	x.Ends("mtor> help qu")
	x.Type(screentest.CtrlZ)
	x.Shows("Stopped")
	x.Ends("shell$")
	x.Type("fg\n")
	x.Ends("mtor> help qu")
	x.Type("it", screentest.Enter)
	x.Shows("leave all seeder lists and end")
	x.Type(screentest.CtrlD)
	x.Ends("shell$")
	x.Type("echo code $?\n")
	x.Shows("code 0")
	x.Type("exit\n")
}

func TestCtrlZWithoutAShellDoesNotHang(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	x, cmd := s.onTerminal(80, 24, nil, s.clientArgs(20, "client")...)
	x.Type("help", screentest.CtrlZ)
	x.Type(" quit", screentest.Enter) // before, while or after it is suspended
	x.Shows("leave all seeder lists and end")
	x.Type(screentest.CtrlD)
	if code := s.exits(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
