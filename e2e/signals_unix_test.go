//go:build unix

package e2e

import (
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// freeze stops a process in its tracks: its sockets stay open and silent.
func freeze(t *testing.T, p *process.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func thaw(t *testing.T, p *process.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// terminate asks a process to end gracefully.
func terminate(t *testing.T, p *process.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func interrupt(t *testing.T, p *process.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}
