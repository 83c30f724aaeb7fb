//go:build race

package e2e

// Under the race detector the processes are built with it too.
const raced = true
