package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

const loopback = "127.0.0.1"

// client describes a client that is not started yet.
func (d *demo) client(name, transport string) *node {
	return &node{
		name: name, transport: transport, log: filepath.Join(d.folder, name+".log"),
		args: []string{
			"client", loopback + ":0", d.trackers[0].addr, d.trackers[1].addr, name + ".log",
			"--state", name, "--transport", transport,
		},
	}
}

// start runs n in the demo's folder and waits until it is ready.
func (d *demo) start(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	p, err := process.Start(process.Spec{Name: n.name, Exe: d.Exe, Args: n.args, Dir: d.folder})
	if err != nil {
		return err
	}
	d.children = append(d.children, p)
	n.process = p
	d.note("../mtor " + quoted(n.args))
	n.addr, err = p.Ready(ctx)
	return err
}

// command types one command into n's menu and waits for its answer.
func (d *demo) command(ctx context.Context, n *node, words ...string) error {
	line := quoted(words)
	d.note("    " + line)
	_, err := n.process.Ask(ctx, line)
	return err
}

// note adds a line to what people can repeat.
func (d *demo) note(line string) { d.recipe = append(d.recipe, line) }

// quit ends the swarm in the way of its users: clients leave, then trackers
// are told to stop.
func (d *demo) quit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quitTimeout)
	defer cancel()
	for _, n := range append([]*node{d.sharer}, d.loaders...) {
		if err := n.process.Type("quit"); err != nil {
			return err
		}
		if err := n.process.Wait(ctx); err != nil {
			return err
		}
	}
	for _, n := range d.trackers {
		if runtime.GOOS == "windows" {
			n.process.Kill() // it has no signal that a child could handle
			continue
		}
		if err := n.process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := n.process.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killAll leaves no process behind.
func (d *demo) killAll() {
	for _, p := range d.children {
		p.Kill()
	}
}

// keep puts the binary beside the data and prints what was run, in a form that
// runs as it stands.
func (d *demo) keep() error {
	exe, err := os.ReadFile(d.Exe)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.folder, "mtor"), exe, 0o700); err != nil {
		return err
	}
	again := filepath.Join(d.folder, "again")
	if err := os.Mkdir(again, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d.tell.recipe(again, d.recipe)
	return nil
}

// quoted joins words as a shell, and the menu, would read them again.
func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = quote(w)
	}
	return strings.Join(q, " ")
}

func quote(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:,+=@%", r)
	}
	if w != "" && strings.TrimFunc(w, plain) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
