package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/units"
)

const namesHelp = `NAME is the name or path of the .mtorrent, the filename, or the torrent's ID.`

const lines = "answer with one JSON object for each, a line each"

func newClientPauseCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "pause NAME...",
		Short: "Let torrents rest until they are resumed",
		Long: `Takes torrents off the trackers and off all peers, and leaves them so, over
restarts of the client too. What is there of their files stays. ` + "\n" + namesHelp + `

` + whichHelp + "\n\n" + askExit,
		Args:              arguments(1, anyNumber),
		ValidArgsFunction: a.completeTorrents(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, a, args, func(ctx context.Context, api control.API, name string) (control.Download, error) {
				return api.Pause(ctx, name)
			}, stateLine)
		},
	}, lines)
}

func newClientResumeCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "resume NAME...",
		Short: "Go on with torrents that are paused, failed or missing",
		Long: `Goes on with torrents that are paused, were stopped by an error, or whose file was
missing. A file that has changed meanwhile is verified first. A goal of seeding
that was reached no longer counts. ` + namesHelp + `

` + whichHelp + "\n\n" + askExit,
		Args:              arguments(1, anyNumber),
		ValidArgsFunction: a.completeTorrents(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, a, args, func(ctx context.Context, api control.API, name string) (control.Download, error) {
				return api.Resume(ctx, name)
			}, stateLine)
		},
	}, lines)
}

func stateLine(_ string, d control.Download) string {
	text := fmt.Sprintf("%s %s: %s of %s", d.State, printable(d.Name), percent(d), bytesText(d.Size))
	if d.Note != "" {
		text += " (" + printable(d.Note) + ")"
	}
	return text
}

func newClientRelocateCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "relocate NAME PATH",
		Short: "Tell a client where a file or folder was moved to",
		Long: `Goes on with a torrent at another place, to which its file, folder or unfinished
.part was moved or copied before. PATH is where it is now, or the folder that it is
in. All that the client has of it is verified there first; if it is not right,
everything stays as it was. Nothing is moved or deleted. ` + "\n" + namesHelp + `

` + whichHelp + "\n\n" + askExit,
		Example:           "  mv data.bin /mnt/big/\n  mtor client relocate data.bin /mnt/big",
		Args:              arguments(2, 2),
		ValidArgsFunction: a.completeTorrents(1, cobra.ShellCompDirectiveDefault),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(api control.API) error {
				progress := newHashProgress(cmd.ErrOrStderr())
				d, err := api.Relocate(cmd.Context(), args[0], args[1], progress.update)
				progress.clear()
				switch {
				case err != nil:
					return err
				case a.json:
					return writeJSON(cmd.OutOrStdout(), d)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is at %s: %s\n", printable(d.Name), printable(d.Path), d.State)
				return err
			})
		},
	}, "answer as one JSON object")
}

// removed is what `remove --json` answers.
type removed struct {
	Name string `json:"name"` // as it was given
	control.Removed
}

func newClientRemoveCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "remove NAME...",
		Short: "Stop torrents and delete their .mtorrent files, never the files themselves",
		Long: `Takes torrents off the trackers and out of the client's library, and deletes their
.mtorrent files. The files stay, and so does what an unfinished download has: get
goes on from there. ` + namesHelp + `

` + whichHelp + "\n\n" + askExit,
		Args:              arguments(1, anyNumber),
		ValidArgsFunction: a.completeTorrents(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, a, args, func(ctx context.Context, api control.API, name string) (removed, error) {
				left, err := api.Remove(ctx, name)
				return removed{name, left}, err
			}, func(name string, r removed) string {
				text := "removed " + printable(name)
				if r.Part != "" {
					text += fmt.Sprintf(": %d of %s stay in %s, get goes on from there", r.Done, pieceCount(r.Pieces), printable(r.Part))
				}
				return text
			})
		},
	}, lines)
}

func newClientLimitCmd() *cobra.Command {
	a := new(asking)
	var up, down string
	cmd := a.flags(&cobra.Command{
		Use:   "limit [NAME] [--up RATE] [--down RATE]",
		Short: "Show or change how fast a client sends and fetches",
		Long: `Changes how many bytes a second all torrents together, or the one named, send and
fetch, at once and until the client ends; without flags it shows that. A RATE is
20MB, 1.5MiB, 500kB or none. ` + namesHelp + `

` + whichHelp + "\n\n" + askExit,
		Example:           "  mtor client limit --up 20MB\n  mtor client limit data.bin.mtorrent --down none",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTorrents(1, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			var change control.LimitChange
			for _, l := range []struct {
				name, value string
				into        **int64
			}{{"up", up, &change.Up}, {"down", down, &change.Down}} {
				if !cmd.Flags().Changed(l.name) {
					continue
				}
				rate, err := units.ParseRate(l.value)
				if err != nil {
					return usageError(fmt.Errorf("--%s: %w", l.name, err))
				}
				*l.into = (*int64)(&rate)
			}
			return a.with(cmd.Context(), func(api control.API) error {
				l, err := api.SetLimits(cmd.Context(), firstOf(args), change)
				switch {
				case err != nil:
					return err
				case a.json:
					return writeJSON(cmd.OutOrStdout(), l)
				}
				what := "all torrents together"
				if l.Name != "" {
					what = printable(l.Name)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "limit of %s: up %s, down %s\n", what, units.Rate(l.Up), units.Rate(l.Down))
				return err
			})
		},
	}, "answer as one JSON object")
	cmd.Flags().StringVar(&up, "up", "", "bytes a second to send at most, or none")
	cmd.Flags().StringVar(&down, "down", "", "bytes a second to fetch at most, or none")
	return cmd
}

// firstOf is the first argument, or empty.
func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newClientQuitCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "quit",
		Short: "End a running client",
		Long: `Takes a client out of all seeder lists and ends it. Unfinished downloads go on when
it is started again.

` + whichHelp + "\n\n" + askExit,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(api control.API) error {
				err := api.Quit(cmd.Context())
				switch {
				case err != nil:
					return err
				case a.json:
					return writeJSON(cmd.OutOrStdout(), struct{}{})
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "the client has ended")
				return err
			})
		},
	}, "answer as one JSON object, which is empty")
}
