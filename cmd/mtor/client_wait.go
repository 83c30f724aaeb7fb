package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport/identity"
)

func newClientWaitCmd() *cobra.Command {
	a := new(asking)
	var timeout time.Duration
	var seeders int
	cmd := a.flags(&cobra.Command{
		Use:   "wait [NAME] [--timeout D] | wait FILE.mtorrent --seeders N [--timeout D]",
		Short: "Wait for downloads, or until so many machines have a file",
		Long: `Waits until no download of a running client is running, nor a program that the end
of one has started; with NAME until that torrent is whole, told by a bar or, off a
terminal, a line now and then. ` + namesHelp + `

` + whichHelp + `

With --seeders it asks the trackers of FILE.mtorrent, and no client, until N peers
are listed as whole: that is when a roll-out has reached N machines, those that
shared it among them. A tracker that cannot be reached is asked again until the
time is over.

With --json, a wait for NAME or --seeders writes an object a line, the last of which
says what came of it in "event".

Exit codes: 0 it has come to that, 1 a download failed, 2 wrong usage, 3 no client
runs there, 124 the --timeout is over, 130 interrupted.`,
		Example: `  mtor client wait --timeout 1h
  mtor client wait data.bin.mtorrent --seeders 200 --timeout 1h --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch forSeeders := cmd.Flags().Changed("seeders"); {
			case forSeeders && len(args) != 1:
				return errors.New("--seeders wants one argument, the .mtorrent")
			case forSeeders && seeders < 1:
				return fmt.Errorf("--seeders %d: want 1 or more", seeders)
			case cmd.Flags().Changed("timeout") && timeout <= 0:
				return fmt.Errorf("--timeout %s: want more than zero", timeout)
			}
			return arguments(0, 1)(cmd, args)
		},
		ValidArgsFunction: a.completeTorrents(1, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			if seeders > 0 {
				return waitForSeeders(cmd, args[0], seeders, timeout, a.json)
			}
			return a.with(cmd.Context(), func(api control.API) error {
				if len(args) > 0 {
					return waitForOne(cmd, api, args[0], timeout, a.json)
				}
				return waitForAll(cmd, api, timeout, a.json)
			})
		},
	}, "answer as JSON: one object, or a line for each event")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "wait for this long at most, such as 30s or 1h")
	cmd.Flags().IntVar(&seeders, "seeders", 0, "wait until so many peers have the file whole, by the word of a tracker")
	cmd.Flags().String("transport", "auto", "with --seeders: what to dial over: auto, tcp, tls or quic")
	cmd.Flags().String("swarm-key", "", "with --seeders: file with the key of a private swarm")
	return cmd
}

// waitForAll waits until no download runs.
func waitForAll(cmd *cobra.Command, api control.API, timeout time.Duration, asJSON bool) error {
	list, err := api.Wait(cmd.Context(), timeout)
	if err != nil && !errors.Is(err, control.ErrUnfinished) {
		return err
	}
	var not []string
	for _, d := range list {
		if !d.Whole() {
			not = append(not, fmt.Sprintf("%s: %s", printable(d.Name), stoppedText(d)))
		}
	}
	if asJSON {
		if err := writeJSON(cmd.OutOrStdout(), struct {
			Torrents []control.Download `json:"torrents"`
		}{append([]control.Download{}, list...)}); err != nil { // [] for none, as of downloads
			return err
		}
	}
	switch {
	case err != nil:
		return &exitError{code: exitTimeout, err: fmt.Errorf("not all whole after %s: %s", timeout, strings.Join(not, "; "))}
	case len(not) > 0:
		return errors.New(strings.Join(not, "; "))
	case asJSON:
		return nil
	case len(list) == 0:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "no download is running")
	default:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), count(len(list), "download")+" complete")
	}
	return err
}

// waitForOne waits until one torrent is whole.
func waitForOne(cmd *cobra.Command, api control.API, name string, timeout time.Duration, asJSON bool) error {
	list, err := api.Downloads(cmd.Context())
	if err != nil {
		return err
	}
	d, err := control.Find(list, control.Download.Named, name)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	f := newFollower(api, cmd.OutOrStdout(), cmd.ErrOrStderr(), asJSON)
	if d, err = f.until(cmd.Context(), d.ID, timeout, control.Download.Whole); err != nil {
		return err
	}
	if asJSON {
		return f.event(eventComplete, d)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "complete %s: %s at %s\n", printable(d.Name), bytesText(d.Size), printable(d.Path))
	return err
}

// seedersEvery is how often the trackers are asked.
const seedersEvery = 2 * time.Second

// seedersSeen is a line of `wait --seeders --json`.
type seedersSeen struct {
	Event   string `json:"event"` // progress, complete or timeout
	ID      string `json:"torrent_id"`
	Name    string `json:"name"`
	Whole   int    `json:"seeders_whole"`
	Listed  int    `json:"seeders_listed"` // whole or not
	Want    int    `json:"seeders_wanted"`
	Tracker string `json:"tracker,omitempty"` // that was asked; none if none answers
	Problem string `json:"problem,omitempty"` // why none answers
}

// waitForSeeders asks the trackers of a .mtorrent until enough peers are whole.
func waitForSeeders(cmd *cobra.Command, mtorrent string, want int, timeout time.Duration, asJSON bool) error {
	t, err := torrentfmt.Open(mtorrent)
	if err != nil {
		return err
	}
	asked, err := newAsked(cmd, t)
	if err != nil {
		return err
	}
	defer asked.close()
	ctx := cmd.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	last := seedersSeen{Event: eventProgress, ID: t.ID().String(), Name: t.Name, Want: want}
	told := last
	tick := time.NewTicker(seedersEvery)
	defer tick.Stop()
	for {
		n, tracker, err := asked.count(ctx)
		switch {
		case ctx.Err() != nil: // nothing new, and no trouble of a tracker
		case err != nil:
			last.Tracker, last.Problem = "", err.Error()
		default:
			last.Whole, last.Listed, last.Tracker, last.Problem = n.Whole, n.Listed, tracker, ""
		}
		if err == nil && n.Whole >= want {
			last.Event = eventComplete
			return tellSeeders(cmd, last, asJSON)
		}
		if ctx.Err() == nil && last != told {
			told = last
			if err := tellSeeders(cmd, last, asJSON); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			last.Event = eventTimeout
			if last.Tracker == "" && last.Problem == "" {
				last.Problem = "no tracker has answered"
			}
			why := fmt.Errorf("%s: %d of %s have it whole after %s", printable(t.Name), last.Whole, count(want, "peer"), timeout)
			if last.Problem != "" {
				why = fmt.Errorf("%w; %s", why, last.Problem)
			}
			if asJSON {
				err = tellSeeders(cmd, last, true)
			}
			return errors.Join(err, &exitError{code: exitTimeout, err: why})
		}
	}
}

// tellSeeders writes a line: to stdout what it has come to, to stderr what is on
// the way.
func tellSeeders(cmd *cobra.Command, s seedersSeen, asJSON bool) error {
	if asJSON {
		return writeLine(cmd.OutOrStdout(), s)
	}
	text := fmt.Sprintf("%s: %d of %s have it whole, %d listed", printable(s.Name), s.Whole, count(s.Want, "peer"), s.Listed)
	if s.Problem != "" {
		text += " (" + printable(s.Problem) + ")"
	}
	w := cmd.ErrOrStderr()
	if s.Event == eventComplete {
		w = cmd.OutOrStdout()
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// asked are the trackers of a torrent, of which one is connected.
type asked struct {
	torrent *torrentfmt.Torrent
	dial    announce.Dialer
	hello   *wire.Hello
	first   int // the tracker to try first
	conn    *announce.Conn
}

func newAsked(cmd *cobra.Command, t *torrentfmt.Torrent) (*asked, error) {
	c, err := aloneSettings(cmd, t.Trackers[:], ".")
	if err != nil {
		return nil, err
	}
	creds, err := passing(c.SwarmKeyFile)
	if err != nil {
		return nil, err
	}
	carry, err := carriers{c.ListenAddr(), c.Transport, c.TCP.Congestion, creds, slog.New(slog.DiscardHandler), nil}.tables()
	if err != nil {
		return nil, err
	}
	id := creds.ID()
	return &asked{torrent: t, dial: carry.dial, hello: &wire.Hello{
		Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: id[:], ListenAddr: c.ListenAddr(), Agent: "mtor",
	}}, nil
}

// passing are the credentials of a node that lives as long as a command.
func passing(swarmKeyFile string) (*identity.Credentials, error) {
	if swarmKeyFile == "" {
		return identity.Ephemeral(), nil
	}
	swarm, err := identity.OpenSwarm(swarmKeyFile)
	if err != nil {
		return nil, keyError("swarm key", err)
	}
	return identity.New(identity.NewKey(), swarm), nil
}

// count asks the connected tracker, or the first that answers.
func (a *asked) count(ctx context.Context) (n announce.Counted, tracker string, err error) {
	if a.conn != nil {
		if n, err = a.conn.Count(ctx, a.torrent.ID()); err == nil {
			return n, a.torrent.Trackers[a.first], nil
		}
		a.close()
	}
	var errs []error
	for i := range a.torrent.Trackers {
		at := (a.first + i) % len(a.torrent.Trackers)
		conn, err := announce.Dial(ctx, a.dial, a.torrent.Trackers[at], a.hello)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if n, err = conn.Count(ctx, a.torrent.ID()); err != nil {
			conn.Close()
			errs = append(errs, fmt.Errorf("tracker %s: %w", a.torrent.Trackers[at], err))
			continue
		}
		a.conn, a.first = conn, at
		return n, a.torrent.Trackers[at], nil
	}
	return n, "", errors.Join(errs...)
}

func (a *asked) close() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}
