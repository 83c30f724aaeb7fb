package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets this binary be mtor itself, so that scripts run the program as
// users do.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mtor": main})
}

// raceEnv keeps a program under the race detector from lingering for a second
// at its end.
const raceEnv = "GORACE=atexit_sleep_ms=0"

// TestScripts runs testdata/script/*.txtar. To the commands of testscript it
// adds:
//
//	code N mtor args...   runs it and checks the exit code
//	freeports A B ...     sets each to a port free for TCP and UDP on 127.0.0.1
//	envsubst FROM TO      copies a file with $NAME replaced
//	makefile FILE BYTES   makes a file of so many bytes, which differ
//	waitfor FILE TEXT     waits until a file of this script's folder holds the text
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			// The settings of whoever runs the tests stay out of them.
			env.Vars = append(env.Vars, raceEnv,
				"HOME="+env.WorkDir, "XDG_STATE_HOME="+filepath.Join(env.WorkDir, "xdg"), "XDG_CONFIG_HOME=")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "freeports": freePorts, "waitfor": waitFor, "envsubst": envSubst, "makefile": makeFile,
		},
	})
}

// code checks an exact exit code, which "! exec" does not.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func freePorts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: freeports NAME...")
	}
	for _, name := range args {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer func() { _ = tcp.Close() }() // held until all are found
		_, port, err := net.SplitHostPort(tcp.Addr().String())
		ts.Check(err)
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		ts.Check(err)
		defer func() { _ = udp.Close() }()
		ts.Setenv(name, strings.TrimSpace(port))
	}
}

func envSubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: envsubst FROM TO")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

func makeFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: makefile FILE BYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// patience bounds waiting for another process; only a failing test needs it.
const patience = 30 * time.Second

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE TEXT")
	}
	tick := time.NewTicker(10 * time.Millisecond) // a file has no event that every system has
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(text), args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not hold %q after %v", args[0], args[1], patience)
}
