package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/torrentfmt"
)

func newClientGetCmd() *cobra.Command {
	a := new(asking)
	var wait, seed bool
	var timeout time.Duration
	var seedUntil string
	cmd := a.flags(&cobra.Command{
		Use:   "get FILE.mtorrent [DEST]",
		Short: "Fetch the file or folder of a .mtorrent from all who have it",
		Long: `Has a running client fetch what FILE.mtorrent describes to DEST, a path or a folder
that exists (by default the working directory); with --wait a bar, or off a terminal
a line now and then, follows it to its end. A file that is there already and right
is taken for done; any other is never overwritten. What an earlier get has left in
DEST's .part is taken up.

` + whichHelp + `

` + aloneHelp + `
It ends once the file is whole and verified; with --seed it seeds until a signal, with
--seed-until until that is reached.

--seed-until takes a number, how many times its size is to be sent, or a time such
as 90m or 24h, counted from its completion. A running client then pauses the torrent.

With --json, a get that follows writes an object a line: "event" is progress,
complete, seeded, failed or timeout, and the rest is the torrent.

Exit codes: 0 ok (with --wait or alone: whole and verified), 1 failed, 2 wrong usage
or settings, 3 no client runs at --socket or --state, 124 the --timeout is over (the
download of a running client goes on), 130 interrupted.`,
		Example: `  mtor client get data.bin.mtorrent .
  mtor client get data.bin.mtorrent /srv/data --wait --timeout 1h`,
		Args:              arguments(1, 2),
		ValidArgsFunction: completeMtorrent,
		RunE: func(cmd *cobra.Command, args []string) error {
			g := getting{asking: a, wait: wait || timeout > 0, seed: seed || seedUntil != "", timeout: timeout}
			var err error
			if g.goal, err = goalOf(cmd, seedUntil); err != nil {
				return err
			}
			if cmd.Flags().Changed("timeout") && timeout <= 0 {
				return usageError(fmt.Errorf("--timeout %s: want more than zero", timeout))
			}
			if _, err := isAlone(cmd); err != nil {
				return err
			}
			dest := "."
			if len(args) > 1 {
				dest = args[1]
			}
			return g.run(cmd, args[0], dest)
		},
	}, "answer as JSON: one object, or a line for each event when it follows")
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the download until it is whole")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "follow it for this long at most, such as 30s or 1h")
	cmd.Flags().StringVar(&seedUntil, "seed-until", "", "seed until so many times the size was sent (1.5), or for so long (24h)")
	aloneFlags(cmd)
	cmd.Flags().BoolVar(&seed, "seed", false, "alone: seed on once it is whole")
	cmd.Flags().String("on-complete", "", "alone: program to run when it is whole; its environment says which file")
	return cmd
}

// goalOf is what --seed-until says, nil if it is not given.
func goalOf(cmd *cobra.Command, s string) (*control.SeedGoal, error) {
	if !cmd.Flags().Changed("seed-until") {
		return nil, nil //nolint:nilnil // none is no mistake
	}
	return parseGoal(s)
}

// parseGoal reads --seed-until.
func parseGoal(s string) (*control.SeedGoal, error) {
	bad := usageError(fmt.Errorf("--seed-until %q: want how many times the size to send (1.5), or for how long (90m, 24h)", s))
	if ratio, err := strconv.ParseFloat(s, 64); err == nil {
		if !(ratio > 0 && ratio <= math.MaxFloat64) {
			return nil, bad
		}
		return &control.SeedGoal{Ratio: ratio}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return nil, bad
	}
	return &control.SeedGoal{Seconds: d.Seconds()}, nil
}

// getting is a get under way.
type getting struct {
	*asking
	wait, seed bool
	timeout    time.Duration
	goal       *control.SeedGoal
}

func (g getting) run(cmd *cobra.Command, mtorrent, dest string) (err error) {
	t, err := torrentfmt.Open(mtorrent)
	if err != nil {
		return err
	}
	s, err := g.open(cmd, t.Trackers[:])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	d, err := s.api.Get(ctx, mtorrent, dest)
	if err == nil && g.goal != nil {
		d, err = s.api.SeedUntil(ctx, d.ID, *g.goal)
	}
	if err != nil {
		return answered(err)
	}
	if !s.alone && !g.wait {
		if g.json {
			return writeJSON(out, d)
		}
		_, err := fmt.Fprintln(out, gotLine(d))
		return err
	}
	f := newFollower(s.api, out, cmd.ErrOrStderr(), g.json)
	d, err = f.until(ctx, d.ID, g.timeout, control.Download.Whole)
	if err != nil {
		return answered(g.explain(cmd, s, d, err))
	}
	if err := g.completed(cmd, f, d); err != nil || !s.alone {
		return err
	}
	if _, err := s.api.Wait(ctx, 0); err != nil { // for a program of --on-complete
		return err
	}
	if g.seed {
		return g.seedOn(ctx, cmd, f, d.ID)
	}
	return nil
}

// completed tells that the file is whole.
func (g getting) completed(cmd *cobra.Command, f *follower, d control.Download) error {
	if g.json {
		return f.event(eventComplete, d)
	}
	took := time.Since(f.begun)
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "complete %s: %s at %s, in %s\n",
		printable(d.Name), bytesText(d.Size), printable(d.Path), took.Round(100*time.Millisecond))
	return err
}

// explain says what becomes of a download that is no longer followed.
func (g getting) explain(cmd *cobra.Command, s session, d control.Download, err error) error {
	var code *exitError
	over := errors.Is(err, context.Canceled) || errors.As(err, &code) && code.code == exitTimeout
	switch {
	case !over:
	case s.alone:
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s done and kept: the same command goes on from there\n", printable(d.Name), percent(d))
	default:
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: the client goes on with it; mtor client downloads shows how far it is\n", printable(d.Name))
	}
	return err
}

// seedOn seeds until the goal is reached, or else until a signal.
func (g getting) seedOn(ctx context.Context, cmd *cobra.Command, f *follower, id string) error {
	if !g.json {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "seeding"+untilText(g.goal)+"; Ctrl-C ends it")
	}
	f.told = time.Now() // a line now and then, not at once
	d, err := f.until(ctx, id, 0, func(d control.Download) bool { return d.State == control.Paused })
	if err != nil {
		return err
	}
	if g.json {
		return f.event(eventSeeded, d)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "seeded %s: %s sent\n", printable(d.Name), bytesText(d.Sent))
	return err
}

func untilText(goal *control.SeedGoal) string {
	switch {
	case goal == nil:
		return ""
	case goal.Ratio > 0:
		return fmt.Sprintf(" until %g times the size is sent", goal.Ratio)
	}
	return " for " + time.Duration(goal.Seconds*float64(time.Second)).String()
}

func gotLine(d control.Download) string {
	verb := "getting"
	switch {
	case d.Whole():
		verb = "have"
	case d.State == control.Paused, d.State == control.NoRoom:
		verb = "paused"
	}
	return fmt.Sprintf("%s %s: %s to %s", verb, printable(d.Name), bytesText(d.Size), printable(d.Path))
}
