package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
	"github.com/mtor-dev/mtor/transport"
)

// patience bounds each test. It is for machines that crawl, not a measure.
const patience = 3 * time.Minute

// heavies lets at most two tests at a time move large files.
var heavies = make(chan struct{}, 2)

func heavy(t *testing.T) {
	t.Helper()
	heavies <- struct{}{}
	t.Cleanup(func() { <-heavies })
}

// swarm is the set-up of one test: a folder, loopback addresses of its own,
// and two trackers.
type swarm struct {
	*testing.T
	ctx      context.Context
	dir      string
	network  string          // "127.3.7.": this test's own addresses; empty where there are none
	host     string          // instead of an own network: the IP of every node
	trackers []*tracker      // two, as a rule
	table    transport.Table // instead of TCP: how the test asks trackers
}

type tracker struct {
	*process.Process
	s    *swarm
	name string
	addr string
	args []string
	exe  string // instead of binary
}

// nets numbers the loopback networks of this run from firstNet, which differs
// between runs that overlap.
var (
	nets     atomic.Uint32
	firstNet = rand.Uint32N(1 << 16)
)

// newSwarm lays out two trackers and starts them unless they are to stay down.
func newSwarm(t *testing.T, start ...bool) *swarm {
	t.Helper()
	s := &swarm{T: t, dir: t.TempDir(), host: "127.0.0.1"}
	if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is at hand
		n := firstNet + nets.Add(1)
		s.network = fmt.Sprintf("127.%d.%d.", 1+n/254%254, 1+n%254)
	}
	return s.init(start...)
}

// standalone is a test's folder without trackers.
func standalone(t *testing.T) *swarm {
	t.Helper()
	return (&swarm{T: t, dir: t.TempDir()}).bounded()
}

// newSwarmAt is newSwarm with every node on one IP.
func newSwarmAt(t *testing.T, host string) *swarm {
	t.Helper()
	return (&swarm{T: t, dir: t.TempDir(), host: host}).init()
}

func (s *swarm) init(start ...bool) *swarm {
	s.Helper()
	s.bounded()
	var addrs [2]string
	for i := range addrs {
		addrs[i] = s.reserve(s.ip(i + 1))
	}
	for i := range addrs {
		name := fmt.Sprintf("tracker-%d", i+1)
		s.trackers = append(s.trackers, &tracker{
			s: s, name: name, addr: addrs[i],
			args: []string{"tracker", addrs[i], addrs[1-i], name + ".db", name + ".log"},
		})
		if i >= len(start) || start[i] {
			s.trackers[i].start()
		}
	}
	return s
}

// bounded sets the limits of the test.
func (s *swarm) bounded() *swarm {
	ctx, cancel := context.WithTimeoutCause(s.Context(), patience, errors.New("the test's patience has ended"))
	s.ctx = ctx
	s.Cleanup(cancel)
	s.Cleanup(s.showLogs)
	return s
}

// ip is the nth address of this test.
func (s *swarm) ip(n int) string {
	if s.network == "" {
		return s.host
	}
	return s.network + fmt.Sprint(n)
}

// reserve finds a port of ip that is free for TCP and UDP.
func (s *swarm) reserve(ip string) string {
	s.Helper()
	addrs, err := process.Reserve(s.ctx, ip, 1)
	if err != nil {
		s.Fatal(err)
	}
	return addrs[0]
}

func (s *swarm) spawn(name string, args ...string) *process.Process {
	s.Helper()
	return s.start(process.Spec{Name: name, Exe: binary, Args: args, Dir: s.dir})
}

// start runs spec and ends it with the test.
func (s *swarm) start(spec process.Spec) *process.Process {
	s.Helper()
	spec.Env = append([]string{
		"GORACE=halt_on_error=1",
		// No default place of this machine's user is touched.
		"HOME=" + s.dir, "XDG_STATE_HOME=" + s.path("xdg-state"), "XDG_RUNTIME_DIR=" + s.dir,
	}, spec.Env...)
	p, err := process.Start(spec)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		p.Kill()
		for _, l := range p.Output(process.Stderr) {
			if strings.Contains(l, "DATA RACE") || strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
				s.Errorf("%s broke down:\n%s", spec.Name, strings.Join(p.Output(process.Stderr), "\n"))
				break
			}
		}
	})
	return p
}

func (t *tracker) start() {
	t.s.Helper()
	exe := binary
	if t.exe != "" {
		exe = t.exe
	}
	t.Process = t.s.start(process.Spec{Name: t.name, Exe: exe, Args: t.args, Dir: t.s.dir})
	addr, err := t.Ready(t.s.ctx)
	if err != nil {
		t.s.Fatal(err)
	}
	if addr != t.addr {
		t.s.Fatalf("%s is ready on %s: want %s", t.name, addr, t.addr)
	}
}

// client is a running client and what it takes to start it again.
type client struct {
	*process.Process
	s    *swarm
	name string
	args []string
	addr string // where it is listed
}

// client starts a client on the test's nth address. flags come after the
// positional arguments.
func (s *swarm) client(n int, name string, flags ...string) *client {
	s.Helper()
	c := &client{s: s, name: name, args: s.clientArgs(n, name, flags...)}
	c.start()
	return c
}

func (s *swarm) clientArgs(n int, name string, flags ...string) []string {
	return append([]string{
		"client", net.JoinHostPort(s.ip(n), "0"), s.trackers[0].addr, s.trackers[1].addr,
		name + ".log", "--state", name + ".state",
	}, flags...)
}

func (c *client) start() {
	c.s.Helper()
	c.Process = c.s.spawn(c.name, c.args...)
	addr, err := c.Ready(c.s.ctx)
	if err != nil {
		c.s.Fatal(err)
	}
	c.addr = addr
	c.args[1] = addr // started again, it is the same client to the trackers
}

// do types a command and returns its answer.
func (c *client) do(command string) string {
	c.s.Helper()
	answer, err := c.Ask(c.s.ctx, command)
	if err != nil {
		c.s.Fatal(err)
	}
	return answer
}

// refuses types a command that must fail, and returns why it did.
func (c *client) refuses(command string) string {
	c.s.Helper()
	answer, err := c.Ask(c.s.ctx, command)
	var refusal *process.Refusal
	if !errors.As(err, &refusal) {
		c.s.Fatalf("%s: %q is not refused: %q, %v", c.name, command, answer, err)
	}
	what, why, ok := strings.Cut(refusal.Said, " : ")
	if !ok || what == "" || why == "" {
		c.s.Fatalf("%s: %q: the error is not \"error: <what> : <why>\" but %q", c.name, command, refusal.Said)
	}
	return refusal.Said
}

// quit ends the client by its menu.
func (c *client) quit() {
	c.s.Helper()
	if err := c.Type("quit"); err != nil {
		c.s.Fatal(err)
	}
	if err := c.Wait(c.s.ctx); err != nil {
		c.s.Fatal(err)
	}
}

// shows checks show downloads: one line each, in the order of adding. While one of
// them is still to be checked after a start, it asks again.
func (c *client) shows(want ...string) {
	c.s.Helper()
	var lines []string
	for unchecked := true; unchecked; {
		var err error
		if lines, err = c.AskLines(c.s.ctx, "show downloads", len(want)); err != nil {
			c.s.Fatal(err)
		}
		unchecked = slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "[?] ") })
	}
	for i, l := range lines {
		if l != want[i] && !strings.HasPrefix(l, want[i]+" ") {
			c.s.Fatalf("%s: show downloads line %d is %q: want %q", c.name, i+1, l, want[i])
		}
	}
}

// piped runs a client whose whole input is script, to its end.
func (s *swarm) piped(n int, name, script string, flags ...string) (stdout, stderr []string, code int) {
	s.Helper()
	p := s.spawn(name, s.clientArgs(n, name, flags...)...)
	if script != "" {
		if err := p.Type(strings.TrimSuffix(script, "\n")); err != nil {
			s.Fatal(err)
		}
	}
	p.CloseInput()
	return s.ends(p)
}

// ends waits for a process that ends by itself.
func (s *swarm) ends(p *process.Process) (stdout, stderr []string, code int) {
	s.Helper()
	if err := p.Wait(s.ctx); err != nil {
		var exit *process.ExitError
		if !errors.As(err, &exit) {
			s.Fatal(err)
		}
	}
	return p.Output(process.Stdout), p.Output(process.Stderr), p.ExitCode()
}

// path is a path in the test's folder, which all processes run in.
func (s *swarm) path(name string) string { return filepath.Join(s.dir, name) }

// logLines is how much of each log a failed test shows.
const logLines = 25

func (s *swarm) showLogs() {
	if !s.Failed() {
		return
	}
	logs, _ := filepath.Glob(s.path("*.log"))
	for _, l := range logs {
		text, err := os.ReadFile(l)
		if err != nil {
			continue
		}
		lines := slices.Collect(strings.Lines(string(text)))
		lines = lines[max(0, len(lines)-logLines):]
		s.Logf("the end of %s:\n%s", filepath.Base(l), strings.Join(lines, ""))
	}
}
