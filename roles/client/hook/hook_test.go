package hook

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// actEnv makes this binary the program of a hook.
const actEnv = "HOOK_TEST_ACT"

func TestMain(m *testing.M) {
	switch act := os.Getenv(actEnv); act {
	case "":
	case "fail":
		fmt.Println("what went wrong:", strings.Repeat("x", 2*maxOutput))
		os.Exit(3)
	case "hold", "parent": // until killed
		if act == "parent" {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), actEnv+"=hold")
			if err := child.Start(); err != nil {
				panic(err)
			}
		}
		conn, err := net.Dial("tcp", os.Getenv("HOOK_TEST_ADDR"))
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, conn)
		os.Exit(0)
	default: // a file to write the facts to
		var facts []string
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "MTOR_") {
				facts = append(facts, v)
			}
		}
		if err := os.WriteFile(act, []byte(strings.Join(facts, "\n")+fmt.Sprint("\nargs ", len(os.Args)-1)), 0o600); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// runner is a Runner of this binary, and a channel that gets a value for each
// program that has ended.
func runner(t *testing.T, act string) (*Runner, *log, <-chan struct{}) {
	t.Helper()
	t.Setenv(actEnv, act)
	ended := make(chan struct{}, 2*maxWaiting)
	l := new(log)
	r := New(Options{Log: slog.New(slog.NewTextHandler(l, nil)), Ended: func() { ended <- struct{}{} }})
	t.Cleanup(func() { r.Close(0) })
	r.Set(os.Args[0])
	return r, l, ended
}

func await(t *testing.T, what <-chan struct{}) {
	t.Helper()
	select {
	case <-what:
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
}

func TestAProgramGetsFactsAndNothingElseOfMtor(t *testing.T) {
	out := filepath.Join(t.TempDir(), "facts")
	t.Setenv("MTOR_SWARM_KEY", "secret")
	r, _, ended := runner(t, out)
	name := `$(touch "pwned"); 'x' %PATH%` + "\n`y`"
	r.Run("MTOR_NAME="+name, "MTOR_SIZE_BYTES=7")
	await(t, ended)
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "MTOR_NAME=" + name + "\nMTOR_SIZE_BYTES=7\nargs 0"; string(got) != want {
		t.Errorf("the program saw\n%s\nwant\n%s", got, want)
	}
	if r.Busy() {
		t.Error("busy when all have ended")
	}
}

func TestAFailedProgramIsToldWithTheBeginningOfWhatItSaid(t *testing.T) {
	r, l, ended := runner(t, "fail")
	r.Run()
	await(t, ended)
	said := l.String()
	if !strings.Contains(said, "hook failed") || !strings.Contains(said, "what went wrong: xxx") ||
		!strings.Contains(said, "exit status 3") || len(said) > 2*maxOutput {
		t.Errorf("%d bytes of log: %.300s", len(said), said)
	}
	r.Set(filepath.Join(t.TempDir(), "nosuch"))
	r.Run()
	await(t, ended)
	if !strings.Contains(l.String(), "nosuch") {
		t.Error(l.String())
	}
}

func TestNoProgramIsNoRun(t *testing.T) {
	r, l, _ := runner(t, "fail")
	r.Set("")
	r.Run()
	if r.Busy() || l.String() != "" {
		t.Error(l.String())
	}
}

func TestAtMostAFewRunAtATimeAndClosingKillsThemWithTheirChildren(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("HOOK_TEST_ADDR", l.Addr().String())
	act, each := "parent", 2
	if runtime.GOOS == "windows" { // no process groups
		act, each = "hold", 1
	}
	r, said, _ := runner(t, act)
	for range maxWaiting + 1 {
		r.Run()
	}
	if n := strings.Count(said.String(), "too many wait"); n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	// Each that runs is a parent and a child, and each of these is a session.
	var held []net.Conn
	for range each * maxRunning {
		if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	r.Close(0)
	if n := strings.Count(said.String(), "killed, since the client ends"); n != maxRunning {
		t.Errorf("%d were killed, want %d", n, maxRunning)
	}
	if n := strings.Count(said.String(), "hook not run: the client ends"); n != maxWaiting-maxRunning {
		t.Errorf("%d were not begun, want %d", n, maxWaiting-maxRunning)
	}
	for _, conn := range held { // dead processes have closed their sessions
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("a process outlives the client: %v", err)
		}
		conn.Close()
	}
}
