package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/client/control/socket"
	"github.com/mtor-dev/mtor/roles/client/library"
)

// exitNoClient is the exit code of a command that found no running client; it is
// that of systemctl status for a service that does not run.
const exitNoClient = 3

// errNoneRuns is the end of a search that named no client in particular.
var errNoneRuns = &exitError{code: exitNoClient, err: errors.New("no client runs: start one (mtor client --help), or name it with --socket or --state")}

// findClient is the running client that the user means: by --socket or --state,
// or by the environment, or else the only one that answers.
func findClient(ctx context.Context, at place) (*socket.Client, error) {
	if path, err := at.named(); path != "" || err != nil {
		return socket.New(path), err
	}
	live, err := liveClients(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(live) == 0:
		return nil, errNoneRuns
	case len(live) > 1:
		text := "several clients run, say which with --socket:"
		for _, path := range live {
			text += " " + path
		}
		return nil, usageError(errors.New(text))
	}
	return socket.New(live[0]), nil
}

// place is where a command is told to look for a client.
type place struct{ socket, state string }

// named is the socket that the user has named, or empty.
func (p place) named() (string, error) {
	path, state := p.socket, p.state
	if path == "" && state == "" {
		path, state = os.Getenv(config.EnvName("socket")), os.Getenv(config.EnvName("state"))
	}
	switch {
	case path == config.SocketNone:
		return "", usageError(errors.New("--socket none: that client is talked to by its menu alone"))
	case path != "":
		return path, nil
	case state != "":
		return socket.Path(state), nil
	}
	return "", nil
}

// liveClients are the sockets at which a client of this user, or of the machine,
// answers.
func liveClients(ctx context.Context) ([]string, error) {
	places, err := usualSockets()
	if err != nil {
		return nil, err
	}
	var live []string
	for _, path := range places {
		c := socket.New(path)
		if c.Alive(ctx) {
			live = append(live, path)
		}
	}
	return live, nil
}

// usualSockets are where clients have their sockets that were started without a
// word of it: in the default state folders, and where the settings file at its
// usual place says.
func usualSockets() ([]string, error) {
	base, err := library.Base()
	if err != nil {
		return nil, err
	}
	list, err := filepath.Glob(filepath.Join(globLiteral(base), "*", socket.FileName))
	if err != nil {
		return nil, err
	}
	file := config.Find(config.Places("client"))
	if file == "" {
		return list, nil
	}
	l, err := config.Load(config.ClientDefaults(), config.Sources{File: file})
	if err != nil {
		return list, nil //nolint:nilerr // a file that another user, or the client, has trouble with
	}
	c := l.Settings
	switch {
	case c.Socket != "" && c.Socket != config.SocketNone:
		list = append(list, c.Socket)
	case c.State != "":
		list = append(list, socket.Path(c.State))
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// globLiteral is a path as a pattern that matches it alone.
func globLiteral(path string) string {
	if filepath.Separator != '/' {
		return path // a backslash is no escape there, nor are brackets usual
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
