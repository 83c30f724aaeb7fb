//go:build !unix

package e2e

import (
	"testing"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

const noSignals = "this system has no signals for other processes"

func freeze(t *testing.T, _ *process.Process)    { t.Helper(); t.Skip(noSignals) }
func thaw(t *testing.T, _ *process.Process)      { t.Helper(); t.Skip(noSignals) }
func terminate(t *testing.T, _ *process.Process) { t.Helper(); t.Skip(noSignals) }
func interrupt(t *testing.T, _ *process.Process) { t.Helper(); t.Skip(noSignals) }
