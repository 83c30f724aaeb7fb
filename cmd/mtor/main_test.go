package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets this binary be mtor itself, so that scripts run the program as
// users do.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mtor": main})
}

// TestScripts runs testdata/script/*.txtar. To the commands of testscript it
// adds:
//
//	code N mtor args...   runs it and checks the exit code
//	freeports A B ...     sets each to a port free for TCP and UDP on 127.0.0.1
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			// The settings of whoever runs the tests stay out of them.
			env.Vars = append(env.Vars,
				"HOME="+env.WorkDir, "XDG_STATE_HOME="+filepath.Join(env.WorkDir, "xdg"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "freeports": freePorts,
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
	if exit, ok := err.(*exec.ExitError); ok {
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
