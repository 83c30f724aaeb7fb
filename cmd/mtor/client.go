package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/client"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/client/menu"
	"github.com/mtor-dev/mtor/roles/client/menu/screen"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/watch"
	"github.com/mtor-dev/mtor/roles/page/clientpage"
	"github.com/mtor-dev/mtor/units"
)

var clientArgs = []string{"<client_ip:upload_port>", "<tracker_1_ip:port>", "<tracker_2_ip:port>", "<log_file>"}

func newClientCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client <client_ip:upload_port> <tracker_1_ip:port> <tracker_2_ip:port> <log_file>",
		Short: "Share files and get them, by a menu",
		Long: `Runs a client: it shares files, gets them from all who have them, and keeps
seeding what is in its library, over restarts too.

Commands come from standard input, one a line; help lists them. Paths with
spaces go in quotes. On a terminal there is a prompt, and Ctrl-D is quit. Piped,
each answer is a line on stdout, each error a line "error: <what> : <why>" on
stderr, and the end of input after at least one command waits for the downloads
and quits. Without any command (an empty input, or --no-menu) the client serves
until a signal.

A client that runs is told what to do from other terminals and from scripts, too: the
commands listed below ask it through its control socket (--socket), which only its
own user may. Of them get, share and wait also do without.

client_ip is an IP of this machine, the one that other clients reach it by;
upload_port is used for TCP and UDP, and 0 picks a free one (give --state then).
"client ready on <ip:port>" on stderr says where it listens. The log file is
appended to, rotated at 100 MiB (log_max_mib) and, on SIGHUP, opened anew; -
means stderr. SIGHUP also reads the settings file anew, if there is one, and takes
over what can change at run time.

SIGINT and SIGTERM take the client out of all seeder lists and end it; a second
one ends it at once. So does the closing of the terminal that it was started on:
nohup keeps it running.

Each setting can also come from the environment (MTOR_ADDR, MTOR_TRACKERS: two,
with a comma, MTOR_LOG_FILE, MTOR_MENU, ...) and from a settings file (--config,
or MTOR_CONFIG). An argument or flag wins over the environment, which wins over
the file. The arguments may be left out then; without any, a file at
$XDG_CONFIG_HOME/mtor/client.yaml, or else /etc/mtor/client.yaml, is taken.
"mtor config sample client" shows all settings.

Exit codes: 0 ok (serving ended by SIGTERM too), 1 a command failed or the
client did, 2 wrong usage or settings, 130 interrupted by SIGINT, or by SIGTERM
while commands were read.`,
		Args: clientPositional,
		RunE: func(cmd *cobra.Command, args []string) error {
			s := newSettings()
			if len(args) > 0 {
				s.argument("addr", clientArgs[0], args[0])
				s.arguments("trackers", clientArgs[1:3], args[1:3])
				s.argument("log_file", clientArgs[3], args[3])
			}
			s.flags(cmd.Flags())
			if os.Getenv(config.EnvName("state")) == "" {
				s.names["state"] = "--state" // what to add when it is missing
			}
			from, err := s.sources(cmd, "client", clientArgs, args)
			if err != nil {
				return err
			}
			l, err := load(s, config.ClientDefaults(), from)
			if err != nil {
				return err
			}
			return runClient(cmd.Context(), l.Settings, from)
		},
	}
	addCommonFlags(cmd.Flags())
	cmd.Flags().String("state", "", "folder of the library (default $XDG_STATE_HOME/mtor/<ip>_<port>)")
	cmd.Flags().String("socket", "", "control socket, or none (default control.sock in the folder of the library)")
	cmd.Flags().StringArray("watch", nil, "folder whose .mtorrent files are fetched and seeded; may be repeated")
	cmd.Flags().String("watch-to", "", "folder that the files of --watch are fetched into")
	cmd.Flags().Duration("watch-every", config.DefaultWatchEvery, "time between two looks at the folders of --watch")
	cmd.Flags().String("on-complete", "", "program to run when a download completes; its environment says which (docs/configuration.md)")
	cmd.Flags().String("upload-limit", units.None, "bytes a second that all torrents together send: 20MB, 1.5MiB, 500kB, or none")
	cmd.Flags().String("download-limit", units.None, "bytes a second that all torrents together fetch")
	cmd.Flags().Int("max-peers", config.DefaultMaxPeers, "sessions with other clients at once, in all")
	cmd.Flags().Int("max-downloads", 0, "downloads that run at once, the others wait in order; 0 for any number")
	cmd.Flags().String("tcp-congestion", "", "congestion control of TCP, such as bbr for long paths that lose packets (default the system's)")
	cmd.Flags().Bool("no-menu", false, "read no commands: serve until a signal")
	cmd.AddCommand(
		newClientShareCmd(), newClientGetCmd(), newClientDownloadsCmd(), newClientPeersCmd(), newClientLimitCmd(),
		newClientPauseCmd(), newClientResumeCmd(), newClientRelocateCmd(), newClientRemoveCmd(), newClientWaitCmd(),
		newClientStatusCmd(), newClientQuitCmd(),
	)
	return cmd
}

// clientPositional tells the form with arguments from a mistyped command: the
// former begins with an address.
func clientPositional(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && !strings.ContainsAny(args[0], ":.") {
		return mistyped(cmd, args[0])
	}
	return positional(clientArgs...)(cmd, args)
}

// errClientEnded ends a menu whose client ended under it without an error.
var errClientEnded = errors.New("client: it has ended")

// nodeKeyFile is the client's key in its state folder.
const nodeKeyFile = "node.key"

// historyFile holds, in the state folder, what was typed at the menu.
const historyFile = "history"

// runClient runs a role; from is where SIGHUP takes its settings from.
func runClient(ctx context.Context, c config.Client, from config.Sources) error {
	surviveClosedOutput()
	state := c.State
	if state == "" {
		var err error
		if state, err = library.Dir(c.OwnAddr()); err != nil {
			return fmt.Errorf("client: %w (or give --state)", err)
		}
	}
	log, err := startLog(c.Log())
	if err != nil {
		return err
	}
	defer log.close()
	advertise, err := netip.ParseAddrPort(c.OwnAddr())
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	folders, err := absolute(append([]string{c.WatchTo}, c.Watch...))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	creds, err := credentials(filepath.Join(state, nodeKeyFile), c.SwarmKeyFile, log.Logger)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	knocks := newKnocks(log.Logger)
	carry, err := carriers{c.ListenAddr(), c.Transport, c.TCP.Congestion, creds, log.Logger, knocks.refused}.tables()
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	watched, err := startMonitor("client", c.Metrics, c.PageTokenFile, c.MetricsPprof, os.Stderr, log.Logger)
	if err != nil {
		return err
	}
	defer watched.close()
	movingPieces()
	var made atomic.Pointer[client.Client]
	role, err := client.New(ctx, client.Options{
		ID:   peer.ID(creds.ID()),
		Addr: c.ListenAddr(), Advertise: advertise, Trackers: c.Trackers, StateDir: state, Listen: carry.listen, Dial: carry.dial, DialKeyed: carry.keyed,
		UploadLimit: int64(c.UploadLimit), DownloadLimit: int64(c.DownloadLimit),
		MaxPeers: c.MaxPeers, MaxDownloads: c.MaxDownloads,
		OnComplete: c.Hooks.Complete, Version: buildVersion(), Log: log.Logger,
		Observe: watched.watchClient(clientFolders(state, c), &made, knocks),
	})
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	remote, err := serveControl(ctx, role, c.Socket, state, log.Logger)
	if err != nil {
		over, end := context.WithCancel(ctx)
		end()
		return errors.Join(fmt.Errorf("client: %w", err), role.Run(over))
	}
	defer remote.end()
	now := c // belongs to the reloading from here on
	reloads(log, config.ClientDefaults(), from, c, func(next config.Client) error {
		role.SetOnComplete(next.Hooks.Complete)
		change := limitChange(now, next)
		now = next
		role.SetBounds(next.MaxPeers, next.MaxDownloads)
		_, err := role.SetLimits(ctx, "", change)
		return errors.Join(err, log.setLevel(next.LogLevel))
	})
	made.Store(role)
	watched.ready(ctx, clientHealth(role))
	watched.show(func(at net.Addr, token string) http.Handler { return clientpage.New(at, token, role) })
	_, _ = fmt.Fprintf(os.Stderr, "client ready on %s\n", role.Addr())
	log.Info("client ready", "addr", role.Addr(), "listed_as", role.ListedAs(), "state", state, "socket", remote.path)
	defer started(ctx, log.Logger)()
	run := role.Run
	if len(c.Watch) > 0 {
		run = watching(role, watch.Options{
			API: role, To: folders[0], Folders: folders[1:], Every: c.WatchEvery, Log: log.Logger,
		})
	}
	err = serve(ctx, role, run, c.Menu, filepath.Join(state, historyFile), log)
	log.Info("client ended")
	return err
}

// limitChange leaves a limit as it is that is the same in both settings: one set
// in the menu goes on.
func limitChange(now, next config.Client) (change control.LimitChange) {
	if now.UploadLimit != next.UploadLimit {
		change.Up = (*int64)(&next.UploadLimit)
	}
	if now.DownloadLimit != next.DownloadLimit {
		change.Down = (*int64)(&next.DownloadLimit)
	}
	return change
}

// absolute makes paths absolute: the working directory may change.
func absolute(paths []string) ([]string, error) {
	for i, path := range paths {
		var err error
		if paths[i], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// watching is a client's Run with watched folders beside it.
func watching(role *client.Client, o watch.Options) func(context.Context) error {
	return func(ctx context.Context) error {
		looking, stop := context.WithCancel(ctx)
		var looks sync.WaitGroup
		looks.Go(func() { watch.Run(looking, o) })
		err := role.Run(ctx)
		stop()
		looks.Wait()
		return err
	}
}

// serve runs the client, and the menu on it if there is one, until either ends
// the other.
func serve(ctx context.Context, role *client.Client, run func(context.Context) error, withMenu bool, history string, log *roleLog) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	attended, leaveMenu := context.WithCancelCause(ctx)
	defer leaveMenu(nil)
	ended := make(chan error, 1)
	go func() {
		err := run(running)
		if err == nil {
			leaveMenu(errClientEnded)
		} else {
			err = fmt.Errorf("client: %w", err)
			leaveMenu(err)
		}
		ended <- err
	}()
	if !withMenu {
		return <-ended
	}
	result, err := attend(attended, role, history, log)
	if result.Quit || errors.Is(err, screen.ErrInterrupted) {
		stop() // after a Quit that failed, too
	}
	roleErr := <-ended
	switch {
	case errors.Is(err, screen.ErrInterrupted):
		return &exitError{code: exitInterrupted, err: roleErr}
	case roleErr != nil:
		return roleErr
	case err != nil && !errors.Is(err, errClientEnded): // which was asked for through the control socket
		return err
	case result.Failed > 0:
		return &exitError{code: exitFailed}
	}
	return nil
}

// attend runs the menu on what stdin and stdout are: a terminal that can be drawn
// on, one that cannot, or pipes and files.
func attend(ctx context.Context, api control.API, history string, log *roleLog) (menu.Result, error) {
	typed := term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
	if !typed || !screen.Able(os.Getenv("TERM")) {
		return menu.Run(ctx, menu.Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: typed, API: api})
	}
	o := screen.Options{In: os.Stdin, Out: os.Stdout, API: api, History: history}
	if log.file.path == "" && term.IsTerminal(int(os.Stderr.Fd())) {
		o.Divert = log.file.divert
	}
	return screen.Run(ctx, o)
}
