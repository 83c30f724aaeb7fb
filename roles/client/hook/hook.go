// Package hook owns the programs that a client runs when something has
// happened. What has happened stands in their environment, never in a command
// line, and no shell is between.
package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// maxRunning bounds the programs that run at the same time: a folder of
	// small downloads that complete together is no burst of processes.
	maxRunning = 4
	// maxWaiting bounds those that run or wait for their turn; more are told
	// in the log and not run.
	maxWaiting = 1000
	// maxTime bounds one run. Then the program and its children are killed.
	maxTime = 10 * time.Minute
	// maxOutput is how many bytes of what a program says are kept for the log.
	maxOutput = 4 << 10
	// pipeDelay is how long to wait for the output of a program that has ended,
	// which children that it left behind may hold open.
	pipeDelay = time.Second
	// envPrefix begins mtor's variables. Those of the client itself are kept
	// from the program: they may hold secrets, and facts begin alike.
	envPrefix = "MTOR_"
)

// Options of a Runner.
type Options struct {
	Log   *slog.Logger
	Ended func() // called when a program has ended
}

// Runner runs programs, a few at a time.
type Runner struct {
	o      Options
	slots  chan struct{}
	ctx    context.Context // ends those that run
	cancel context.CancelFunc
	over   chan struct{} // closed when none may begin any more
	wg     sync.WaitGroup

	mu      sync.Mutex
	program string
	waiting int
	closed  bool
}

// New makes a Runner. Close must follow.
func New(o Options) *Runner {
	r := &Runner{o: o, slots: make(chan struct{}, maxRunning), over: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Set chooses the program of the runs to come: a path, or a name to be looked
// up in PATH; empty for none.
func (r *Runner) Set(program string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.program = program
}

// Busy reports whether a program runs or waits for its turn.
func (r *Runner) Busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting > 0
}

// Run runs the program, if there is one, with facts in its environment, and
// returns at once. facts are NAME=value, where NAME begins with MTOR_.
func (r *Runner) Run(facts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.program == "" || r.closed {
		return
	}
	if r.waiting >= maxWaiting {
		r.o.Log.Error("hook not run: too many wait", "program", r.program, "facts", facts)
		return
	}
	r.waiting++
	program := r.program
	r.wg.Go(func() {
		r.turn(program, facts)
		r.mu.Lock()
		r.waiting--
		r.mu.Unlock()
		r.o.Ended()
	})
}

// turn waits for a slot and runs the program in it.
func (r *Runner) turn(program string, facts []string) {
	log := r.o.Log.With("program", program, "facts", facts)
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-r.over:
	}
	select {
	case <-r.over: // a slot may have come free by its program's end at the same moment
		log.Warn("hook not run: the client ends")
		return
	default:
	}
	began := time.Now()
	said, err := r.run(program, facts)
	log = log.With("seconds", time.Since(began).Seconds(), "output", said)
	if err != nil {
		log.Warn("hook failed", "error", err)
		return
	}
	log.Info("hook run")
}

func (r *Runner) run(program string, facts []string) (said string, err error) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, maxTime, fmt.Errorf("killed after %v", maxTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, envPrefix) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, facts...)
	var out capped
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = pipeDelay
	apart(cmd)
	err = cmd.Run()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		if errors.Is(cause, context.Canceled) {
			cause = errors.New("killed, since the client ends")
		}
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return strings.TrimSpace(string(out.kept)), err
}

// Close lets no program begin any more, gives those that run the time until
// grace ends, kills them then, and waits for all.
func (r *Runner) Close(grace time.Duration) {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.over)
	}
	r.mu.Unlock()
	kill := time.AfterFunc(grace, r.cancel)
	r.wg.Wait()
	kill.Stop()
	r.cancel()
}

// capped keeps the beginning of what is written to it.
type capped struct{ kept []byte }

// Write implements io.Writer; it takes everything.
func (c *capped) Write(p []byte) (int, error) {
	c.kept = append(c.kept, p[:min(len(p), maxOutput-len(c.kept))]...)
	return len(p), nil
}
