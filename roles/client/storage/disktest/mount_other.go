//go:build !linux

package disktest

import "testing"

// Mount skips the test: there are no namespaces to mount a disk in.
func Mount(t *testing.T, _ string) (dir string) {
	t.Helper()
	t.Skip("only Linux has namespaces to mount a small disk in")
	return ""
}

// ReadOnly is never called.
func ReadOnly(*testing.T, string) {}
