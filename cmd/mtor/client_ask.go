package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/control/socket"
)

// whichHelp says which client a command talks to.
const whichHelp = `It talks to the client of --socket or --state (or MTOR_SOCKET, MTOR_STATE), or
else to the only one that runs for this user or by the machine's settings file.`

// askExit are the exit codes of most commands that talk to a client.
const askExit = `Exit codes: 0 ok, 1 failed, 2 wrong usage, or several clients run and none is
named, 3 no client runs there.`

// asking is what the commands have in common that talk to a running client.
type asking struct {
	place
	json bool
}

// flags are those that each of them has.
func (a *asking) flags(cmd *cobra.Command, jsonHelp string) *cobra.Command {
	cmd.Flags().StringVar(&a.socket, "socket", "", "control socket of the client")
	cmd.Flags().StringVar(&a.state, "state", "", "folder of the client's library")
	cmd.Flags().BoolVar(&a.json, "json", false, jsonHelp)
	return cmd
}

// with calls do with the client that is meant.
func (a *asking) with(ctx context.Context, do func(api control.API) error) error {
	c, err := findClient(ctx, a.place)
	if err != nil {
		return err
	}
	defer c.Close()
	return answered(do(c))
}

// answered gives errors of a client their exit codes.
func answered(err error) error {
	if errors.Is(err, socket.ErrNoClient) {
		return &exitError{code: exitNoClient, err: err}
	}
	return err
}

// each carries a command out for each of the torrents that it names, and writes
// what comes of it: a line, or with --json an object a line. One that fails does
// not keep the others from being tried.
func each[T any](cmd *cobra.Command, a *asking, names []string, do func(ctx context.Context, api control.API, name string) (T, error), line func(name string, answer T) string) error {
	return a.with(cmd.Context(), func(api control.API) error {
		var errs []error
		for _, name := range names {
			answer, err := do(cmd.Context(), api, name)
			switch {
			case err != nil:
				errs = append(errs, err)
			case a.json:
				errs = append(errs, writeLine(cmd.OutOrStdout(), answer))
			default:
				_, err := fmt.Fprintln(cmd.OutOrStdout(), line(name, answer))
				errs = append(errs, err)
			}
			if errors.Is(err, socket.ErrNoClient) {
				break
			}
		}
		return errors.Join(errs...)
	})
}

// writeLine writes an object on one line.
func writeLine(w io.Writer, v any) error { return encode(w, v, "") }

// completionTime is how long a shell waits for names.
const completionTime = time.Second

// completeTorrents has the shell offer the torrents of the running client, up to
// most of them (0 for any number), and then whatever then says.
func (a *asking) completeTorrents(most int, then cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, then
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		c, err := findClient(ctx, a.place)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		list, err := c.Downloads(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return torrentNames(list, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// torrentNames are the shortest names that tell torrents apart, of those that
// are not among taken.
func torrentNames(list []control.Download, taken []string) []cobra.Completion {
	var names []cobra.Completion
	for _, d := range list {
		name := filepath.Base(d.Mtorrent)
		if _, err := control.Find(list, control.Download.Named, name); err != nil {
			name = d.Mtorrent
		}
		if !slices.Contains(taken, name) {
			names = append(names, cobra.CompletionWithDesc(name, fmt.Sprintf("%s, %s", d.State, percent(d))))
		}
	}
	return names
}

// completeFiles has the shell offer files with an ending for the first argument,
// and then folders.
func completeMtorrent(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []cobra.Completion{"mtorrent"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return nil, cobra.ShellCompDirectiveDefault
}
