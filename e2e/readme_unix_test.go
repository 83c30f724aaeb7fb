//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// documentFolder is where the documents' sessions take place.
const documentFolder = "/tmp/try"

func TestSessionsOfTheDocumentsGoAsTheySay(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct {
		commands int // at least
		needs    string
	}{
		"README.md":        {commands: 10},
		"docs/commands.md": {commands: 25, needs: "curl"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.needs); err != nil && c.needs != "" {
				t.Skipf("no %s here", c.needs)
			}
			document, err := os.ReadFile(filepath.Join("..", path))
			if err != nil {
				t.Fatal(err)
			}
			ran, err := replay(t, string(document))
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if ran < c.commands {
				t.Errorf("only %d commands were found", ran)
			}
		})
	}
}

func TestDocumentThatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	const show = "$ echo one; echo two\none\ntwo\n"
	for _, c := range []struct{ name, document, want string }{
		{"right", "```console\n" + show + "```\n", ""},
		{"right, and skips with a reason", "<!-- not run: it is a table -->\n```\nx\n```\n", ""},
		{"another number, and they vary", "<!-- numbers vary: r -->\n```console\n$ echo one 17\none 4\n```\n", ""},
		{"another number", "text\n```console\n$ echo one 17\none 4\n```\n", "line 4"},
		{"numbers vary of one block alone", "<!-- numbers vary: r -->\n```console\n$ true\n```\n```console\n$ echo 1\n2\n```\n", "line 7"},
		{"a moment that comes", "<!-- a moment: r -->\n```console\n$ echo x >> came; wc -l < came\n3\n```\n", ""},
		{"no moment", "```console\n$ echo x >> came; wc -l < came\n3\n```\n", "line 3"},
		{"what went on in the background", "```console\n$ echo one; sleep 0.1; echo two &\none\n$ wait\ntwo\n```\n", ""},
		{"what went wrong in the background", "```console\n$ echo one; exit 1 &\none\n$ wait\n```\n", "line 2"},
		{"nothing in the background", "```console\n$ wait\n```\n", "line 2"},
		{"another answer", "```console\n$ echo one\nwon\n```\n", "line 3"},
		{"an answer too many", "```console\n$ echo one\none\ntwo\n```\n", "line 4"},
		{"an answer too few", "```console\n$ echo one; echo two\none\n```\n", "line 2"},
		{"an answer too few before another command", "```console\n$ echo one; echo two\none\n$ true\n```\n", "line 2"},
		{"a failing command", "```console\n$ false\n```\n", "line 2"},
		{"a flag that is gone", "```console\n$ mtor version --no-such-flag\n```\n", "line 2"},
		{"a serving command that ends by itself", "```console\n$ echo ready on x; exit 1\nready on x\n```\n", "line 2"},
		{"a menu without a client", "```console\nmtor> help\n```\n", "line 2"},
		{"neither run nor a reason", "```\nx\n```\n", "line 1"},
		{"an empty reason", "<!-- not run: -->\n```\nx\n```\n", "line 1"},
		{"one reason for two blocks", "<!-- not run: r -->\n```\nx\n```\n```\ny\n```\n", "line 5"},
		{"indented", "text\n\n    $ true\n", "line 3"},
		{"without an end", "```console\n$ true\n", "no end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := replay(t, c.document)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, and not a word of %s", err, c.want)
			}
		})
	}
}

// player runs a document's sessions in one folder. Where the document has an address,
// it uses one of the test's own.
type player struct {
	*swarm
	home  string            // of the user, where state folders are
	real  map[string]string // the document's "ip:port" to the test's
	ours  []string          // the other way, old and new for a strings.Replacer
	menu  *shell            // of the newest client with a menu
	serve []*shell          // what goes on to the end
}

// shell is a shell that runs one command at a time.
type shell struct {
	dir   string
	env   []string
	step  step
	child *process.Process // of the newest command, nil before the first
	next  int              // index of its first line that was not compared
}

// replay runs a document's sessions in their order and returns how many commands it ran.
func replay(t *testing.T, document string) (ran int, err error) {
	t.Helper()
	all, err := sessions(document)
	if err != nil {
		return 0, err
	}
	p := &player{swarm: newSwarm(t, false, false), real: map[string]string{}}
	if p.dir, err = filepath.EvalSymlinks(p.dir); err != nil {
		return 0, err
	}
	p.ours = []string{p.dir, documentFolder}
	if p.home, err = os.MkdirTemp("", "home"); err != nil { //nolint:usetesting // the path of a socket must be short
		return 0, err
	}
	t.Cleanup(func() { _ = os.RemoveAll(p.home) })
	for _, s := range all {
		sh := &shell{dir: p.dir, env: []string{
			"HOME=" + p.home, "XDG_STATE_HOME=",
			"PATH=" + filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH"),
		}}
		if s.steps[0].menu {
			if sh = p.menu; sh == nil {
				return ran, fmt.Errorf("line %d: no client with a menu runs", s.steps[0].line)
			}
		}
		run := p.run
		if s.moment {
			run = p.await
		}
		for _, st := range s.steps {
			if err := run(sh, st); err != nil {
				return ran, err
			}
			ran++
		}
		if err := p.leave(sh); err != nil {
			return ran, err
		}
	}
	return ran, p.interrupt()
}

// run types a command and compares the answer.
func (p *player) run(sh *shell, st step) error {
	command := p.translate(st.command)
	if st.menu {
		if sh.child == nil {
			return fmt.Errorf("line %d: no client with a menu runs", st.line)
		}
		p.menu, sh.step = sh, st
		if err := sh.child.Type(command); err != nil {
			return fmt.Errorf("line %d: %w", st.line, err)
		}
		return p.compare(sh)
	}
	if err := p.finish(sh); err != nil {
		return err
	}
	if folder, ok := strings.CutPrefix(command, "cd "); ok {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(sh.dir, folder)
		}
		sh.dir = folder
		return nil
	}
	if variable, ok := strings.CutPrefix(command, "export "); ok {
		sh.env = append(sh.env, variable)
		return nil
	}
	if command == "wait" {
		return p.wait(sh, st)
	}
	command, background := strings.CutSuffix(command, " &")
	if !strings.ContainsAny(command, "|;&") {
		command = "exec " + command // so that a signal reaches it
	}
	child := p.start(process.Spec{
		Name: st.command, Exe: "/bin/sh", Args: []string{"-c", "exec 2>&1; " + command}, Dir: sh.dir, Env: sh.env,
	})
	p.Cleanup(func() { _ = syscall.Kill(-child.PID(), syscall.SIGKILL) }) // and what it started
	sh.step, sh.child, sh.next = st, child, 0
	if err := p.compare(sh); err != nil {
		return err
	}
	if background {
		p.serve = append(p.serve, &shell{step: st, child: child, next: sh.next})
		sh.child = nil
	}
	return nil
}

// wait waits for the newest of the commands in the background to end.
func (p *player) wait(sh *shell, st step) error {
	if len(p.serve) == 0 {
		return fmt.Errorf("line %d: nothing runs in the background", st.line)
	}
	last := p.serve[len(p.serve)-1]
	p.serve = p.serve[:len(p.serve)-1]
	sh.child, sh.next = last.child, last.next
	sh.step = last.step // whose line it is if it fails
	sh.step.answer = st.answer
	return errors.Join(p.compare(sh), p.finish(sh))
}

// momentTime bounds how long a documented moment is waited for.
const momentTime = 30 * time.Second

// await runs a command that ends until its answer is the documented one.
func (p *player) await(sh *shell, st step) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		err := p.run(sh, st)
		if err == nil {
			err = p.finish(sh)
		}
		if err == nil || time.Since(begun) > momentTime || p.ctx.Err() != nil {
			return err
		}
		sh.child = nil
		<-tick.C
	}
}

// compare waits for as many lines as the document has, and compares them.
func (p *player) compare(sh *shell) error {
	for _, a := range sh.step.answer {
		said, err := sh.child.Line(p.ctx, sh.next, func(l process.Line) bool {
			return !sh.step.follows || !progress.MatchString(l.Text)
		})
		if err != nil {
			return fmt.Errorf("line %d: documented is %q: %w", a.line, a.text, err)
		}
		sh.next = said.Index + 1
		if got := p.back(said.Text); !same(a.text, got, sh.step.vary) {
			return fmt.Errorf("line %d: documented is\n\t%s\nand said was\n\t%s", a.line, a.text, got)
		}
	}
	return nil
}

// finish waits for the newest command to end, with success and without another word.
func (p *player) finish(sh *shell) error {
	if sh.child == nil {
		return nil
	}
	if err := sh.child.Wait(p.ctx); err != nil {
		return fmt.Errorf("line %d: %s: %w: %s", sh.step.line, sh.step.command, err, strings.Join(sh.child.Output(process.Stdout), "\n"))
	}
	return p.silent(sh)
}

// silent says whether an ended command said more than the document knows.
func (p *player) silent(sh *shell) error {
	if more, err := sh.child.Line(p.ctx, sh.next, func(process.Line) bool { return true }); err == nil {
		return fmt.Errorf("line %d: not documented: %s", sh.step.line, p.back(more.Text))
	}
	return nil
}

// leave ends a session: a command that says that it serves goes on.
func (p *player) leave(sh *shell) error {
	serves := sh == p.menu
	for _, a := range sh.step.answer {
		serves = serves || strings.Contains(a.text, "ready on ") || strings.Contains(a.text, "Ctrl-C ends it")
	}
	if !serves {
		return p.finish(sh)
	}
	if sh.child != nil && !slices.Contains(p.serve, sh) {
		p.serve = append(p.serve, sh)
	}
	return nil
}

// interrupt ends what still runs, as Ctrl-C does: the newest first, so that clients
// still have trackers to leave. What ended before must have done so with success.
func (p *player) interrupt() error {
	for _, sh := range slices.Backward(p.serve) {
		if err := sh.child.Signal(os.Interrupt); err != nil {
			return err
		}
		var exit *process.ExitError
		if err := sh.child.Wait(p.ctx); err != nil && !(errors.As(err, &exit) && sh.child.ExitCode() == 130) {
			return fmt.Errorf("line %d: %s: %w", sh.step.line, sh.step.command, err)
		}
	}
	return nil
}

var addresses = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+)([:_])(\d+)`)

// translate puts addresses and the folder of the test's own into a command.
func (p *player) translate(command string) string {
	command = strings.ReplaceAll(command, documentFolder, p.dir)
	return addresses.ReplaceAllStringFunc(command, func(found string) string {
		m := addresses.FindStringSubmatch(found)
		documented := net.JoinHostPort(m[1], m[3])
		addr, ok := p.real[documented]
		if !ok {
			addr = p.reserve(p.ip(10 + len(p.real)))
			p.real[documented] = addr
			p.ours = append(p.ours, addr, documented)
		}
		return strings.Replace(addr, ":", m[2], 1)
	})
}

// back puts the document's addresses and folder into what was said.
func (p *player) back(said string) string { return strings.NewReplacer(p.ours...).Replace(said) }
