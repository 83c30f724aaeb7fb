package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/torrentfmt"
)

func newClientShareCmd() *cobra.Command {
	a := new(asking)
	var trackers []string
	var seedUntil string
	cmd := a.flags(&cobra.Command{
		Use:   "share FILE|FOLDER [OUT.mtorrent] [--tracker ADDR --tracker ADDR]",
		Short: "Make the .mtorrent of a file or folder, and seed it",
		Long: `Has a running client hash FILE, or all regular files in FOLDER, write OUT.mtorrent
(by default <FILE>.mtorrent in the working directory), announce it to its trackers and
seed it.

` + whichHelp + `

With --tracker, given twice, no running client is needed: the command seeds by itself
until a signal, or until --seed-until is reached, and prints the line that fetches
the file on another machine. It listens on a free port of every address of this
machine, unless --addr says otherwise, and keeps no library.

--seed-until takes a number, how many times its size is to be sent, or a time such
as 90m or 24h. A running client then pauses the torrent.

Exit codes: 0 ok, 1 failed, 2 wrong usage or settings, 3 no client runs there and no
--tracker is given, 130 interrupted.`,
		Example: `  mtor client share data.bin
  mtor client share data.bin --tracker 10.0.0.1:7000 --tracker 10.0.0.2:7000`,
		Args: arguments(1, 2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []cobra.Completion{"mtorrent"}, cobra.ShellCompDirectiveFilterFileExt
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s := sharing{asking: a, path: args[0], trackers: trackers}
			var err error
			if s.goal, err = goalOf(cmd, seedUntil); err != nil {
				return err
			}
			if s.mtorrent, err = mtorrentFor(args); err != nil {
				return err
			}
			if err := checkTrackers(cmd, trackers); err != nil {
				return err
			}
			return s.run(cmd)
		},
	}, "answer as one JSON object")
	cmd.Flags().StringArrayVar(&trackers, "tracker", nil, "address of a tracker, to do without a running client; give two")
	cmd.Flags().StringVar(&seedUntil, "seed-until", "", "seed until so many times the size was sent (1.5), or for so long (24h)")
	aloneFlags(cmd)
	_ = cmd.Flags().MarkHidden("alone") // --tracker says it
	return cmd
}

// mtorrentFor is where the .mtorrent goes.
func mtorrentFor(args []string) (string, error) {
	if len(args) > 1 {
		if err := control.CheckMtorrent(args[1]); err != nil {
			return "", usageError(err)
		}
		return args[1], nil
	}
	abs, err := filepath.Abs(args[0])
	if err != nil {
		return "", err
	}
	return filepath.Base(abs) + torrentfmt.Ext, nil
}

// checkTrackers demands two, or none where a running client has its own.
func checkTrackers(cmd *cobra.Command, trackers []string) error {
	alone, err := isAlone(cmd)
	switch {
	case err != nil:
		return err
	case alone && len(trackers) == 0:
		return usageError(errors.New("--tracker is missing: give the two that the .mtorrent is to name"))
	case len(trackers) == 0:
		return nil
	case len(trackers) != 2:
		return usageError(fmt.Errorf("--tracker is given %d times, want exactly 2", len(trackers)))
	case cmd.Flags().Changed("socket"), cmd.Flags().Changed("state"):
		return usageError(errors.New("--tracker is for a share without a running client, which has trackers of its own: leave it out, or --socket and --state"))
	}
	for _, s := range trackers {
		if err := torrentfmt.CheckTracker(s); err != nil {
			return usageError(fmt.Errorf("--tracker %q: %w", s, err))
		}
	}
	return nil
}

// sharing is a share under way.
type sharing struct {
	*asking
	path, mtorrent string
	trackers       []string
	goal           *control.SeedGoal
}

// shared is what `share --json` answers.
type shared struct {
	control.Download
	Get string `json:"get_command"` // for another machine, to which the .mtorrent is copied
}

func (s sharing) run(cmd *cobra.Command) (err error) {
	var ses session
	if len(s.trackers) > 0 {
		ses, err = startAlone(cmd, s.trackers)
	} else {
		c, findErr := findClient(cmd.Context(), s.place)
		if errors.Is(findErr, errNoneRuns) {
			return &exitError{code: exitNoClient, err: errors.New("no client runs: give --tracker twice to seed from here, or start one")}
		}
		err = findErr
		if err == nil {
			ses = session{api: c, end: func() error { c.Close(); return nil }}
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ses.end()) }()
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	progress := newHashProgress(cmd.ErrOrStderr())
	d, err := ses.api.Share(ctx, s.path, s.mtorrent, progress.update)
	progress.clear()
	if err != nil {
		return answered(err)
	}
	note := d.Note
	if s.goal != nil {
		if d, err = ses.api.SeedUntil(ctx, d.ID, *s.goal); err != nil {
			return answered(err)
		}
	}
	if note != "" {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s: %s\n", printable(d.Name), printable(note))
	}
	get, copied := "mtor client get "+shellWord(filepath.Base(d.Mtorrent))+" .", printable(d.Mtorrent)
	if key := cmd.Flags().Lookup("swarm-key").Value.String(); key != "" {
		get += " --swarm-key " + shellWord(filepath.Base(key))
		copied += ", and the swarm's key by a way that nobody else can read,"
	}
	switch {
	case s.json:
		err = writeLine(out, shared{d, get})
	default:
		_, err = fmt.Fprintf(out, "shared %s: %s in %s, %s\n", printable(d.Name), bytesText(d.Size), pieceCount(d.Pieces()), printable(d.Mtorrent))
	}
	if err != nil || !ses.alone {
		return err
	}
	if !s.json {
		_, err = fmt.Fprintf(out, "copy %s to another machine, and there run:\n  %s\n", copied, get)
		if err != nil {
			return err
		}
	}
	g := getting{asking: s.asking, goal: s.goal}
	return g.seedOn(ctx, cmd, newFollower(ses.api, out, cmd.ErrOrStderr(), s.json), d.ID)
}

// shellWord is s as one word of a POSIX shell. What a terminal does not show is
// written out, in the quotes that shells have for that.
func shellWord(s string) string {
	if visible(s) != s {
		var b strings.Builder
		for _, c := range []byte(s) {
			if c < ' ' || c > '~' || c == '\'' || c == '\\' {
				fmt.Fprintf(&b, `\%03o`, c)
				continue
			}
			b.WriteByte(c)
		}
		word := "$'" + b.String() + "'"
		if strings.HasPrefix(s, "-") {
			return "./" + word
		}
		return word
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+,:@%/=", r)
	}
	if s != "" && s[0] != '-' && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	quoted := "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	if strings.HasPrefix(s, "-") {
		return "./" + quoted
	}
	return quoted
}
