// Command mtor shares big files between machines: a tracker that knows who has
// what, and a client that shares and gets.
//
// This package owns the command line, a file for each command: it turns
// arguments into settings, wires the roles together, and translates signals
// and errors into exit codes. What the roles do is theirs.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := watchSignals(context.Background())
	defer stop()
	return report(ctx, os.Stderr, newRootCmd().ExecuteContext(ctx))
}
