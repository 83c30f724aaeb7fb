package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/page/trackerpage"
	"github.com/mtor-dev/mtor/roles/tracker"
	"github.com/mtor-dev/mtor/roles/tracker/admin"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

var trackerArgs = []string{"<my_ip:port>", "<other_ip:port>", "<seederlist_file>", "<log_file>"}

func newTrackerCmd() *cobra.Command {
	var peers []string
	cmd := &cobra.Command{
		Use:   "tracker <my_ip:port> <other_ip:port> <seederlist_file> <log_file>",
		Short: "Keep the lists of who has what, in step with another tracker",
		Long: `Runs a tracker: it keeps, for each torrent, the list of clients that have it,
and passes every change on to the other tracker. Clients use either; what one
has answered for survives its crash, and while one is down the other serves.

my_ip is an IP of this machine, the one that clients reach it by (or 0.0.0.0 for
all); the port is used for TCP and UDP, and 0 picks a free one. "tracker ready
on <ip:port>" on stdout says where it listens. The seederlist file is made when
it is missing. The log file is appended to, rotated at 100 MiB (log_max_mib) and,
on SIGHUP, opened anew; - means stderr. SIGHUP also reads the settings file anew,
if there is one, and takes over what can change at run time.

Three and more trackers: give each all the others, the first as argument, the
rest with --peer. Clients are told of all.

A damaged seederlist file is set aside (<seederlist_file>.damaged-<time>), and
the tracker starts anew from the others; while none can be reached it refuses
to, unless --accept-data-loss is given. A file in use by another tracker is
refused.

SIGINT and SIGTERM end the tracker in order; a second one ends it at once. So
does the closing of the terminal that it was started on: nohup keeps it running.

Each setting can also come from the environment (MTOR_ADDR, MTOR_PEERS with
commas, MTOR_SEEDERLIST_FILE, MTOR_LOG_FILE, ...) and from a settings file
(--config, or MTOR_CONFIG). An argument or flag wins over the environment, which
wins over the file. The arguments may be left out then; without any, a file at
$XDG_CONFIG_HOME/mtor/tracker.yaml, or else /etc/mtor/tracker.yaml, is taken.
"mtor config sample tracker" shows all settings.

Exit codes: 0 ok (ended by SIGTERM), 1 failed, 2 wrong usage or settings,
130 interrupted by SIGINT.`,
		Args: positional(trackerArgs...),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := newSettings()
			if len(args) > 0 {
				s.argument("addr", trackerArgs[0], args[0])
				s.peers(args[1], peers)
				s.argument("seederlist_file", trackerArgs[2], args[2])
				s.argument("log_file", trackerArgs[3], args[3])
			} else if len(peers) > 0 {
				s.peers("", peers)
			}
			s.flags(cmd.Flags())
			from, err := s.sources(cmd, "tracker", trackerArgs, args)
			if err != nil {
				return err
			}
			l, err := load(s, config.TrackerDefaults(), from)
			if err != nil {
				return err
			}
			return runTracker(cmd.Context(), l.Settings, from)
		},
	}
	addCommonFlags(cmd.Flags())
	cmd.Flags().StringArrayVar(&peers, "peer", nil, "one more tracker to keep in step with, ip:port; may be repeated")
	cmd.Flags().Duration("lease", config.DefaultLease, "how long a client stays listed that does not renew")
	cmd.Flags().String("ack", config.AckSelf, "answer when a change is on this tracker's disk (self), or on another's too while one is connected (peer)")
	cmd.Flags().Bool("accept-data-loss", false, "start empty when the seederlist file is damaged and no other tracker can be reached")
	cmd.Flags().StringArray("trust-announced", nil, "network (CIDR) from which clients may announce another IP than their own; may be repeated")
	cmd.Flags().String("admin", "", "loopback ip:port to answer \"mtor tracker status\" on, and to show a page")
	cmd.AddCommand(newTrackerSeedersCmd(), newTrackerStatusCmd(), newTrackerForgetCmd())
	return cmd
}

// peers takes the other trackers: the positional one, if there is one, and
// those of --peer.
func (s settings) peers(first string, more []string) {
	var names, values []string
	if first != "" {
		names, values = append(names, trackerArgs[1]), append(values, first)
	}
	for _, p := range more {
		names, values = append(names, "--peer"), append(values, p)
	}
	s.arguments("peers", names, values)
}

// trackerKeySuffix makes the name of the tracker's key of that of its
// seederlist file.
const trackerKeySuffix = ".key"

// runTracker runs a role; from is where SIGHUP takes its settings from.
func runTracker(ctx context.Context, c config.Tracker, from config.Sources) error {
	surviveClosedOutput()
	log, err := startLog(c.Log())
	if err != nil {
		return err
	}
	defer log.close()
	trusted, err := c.Trusted()
	if err != nil {
		return err
	}
	advertise, err := netip.ParseAddrPort(c.OwnAddr())
	if err != nil {
		return fmt.Errorf("tracker: %w", err)
	}
	creds, err := credentials(c.SeederlistFile+trackerKeySuffix, c.SwarmKeyFile, log.Logger)
	if err != nil {
		return fmt.Errorf("tracker: %w", err)
	}
	if !creds.Private() {
		log.Info("replication is open: whoever calls from an address of the other trackers is taken for one; a swarm key would ask for proof", "peers", c.Peers)
	}
	knocks := newKnocks(log.Logger)
	carry, err := carriers{c.ListenAddr(), c.Transport, "", creds, log.Logger, knocks.refused}.tables()
	if err != nil {
		return fmt.Errorf("tracker: %w", err)
	}
	watched, err := startMonitor("tracker", c.Metrics, c.PageTokenFile, c.MetricsPprof, os.Stdout, log.Logger)
	if err != nil {
		return err
	}
	defer watched.close()
	var made atomic.Pointer[tracker.Tracker]
	role, err := tracker.New(ctx, tracker.Options{
		Addr: c.ListenAddr(), Advertise: advertise, TrustAnnounced: trusted, Peers: c.Peers, SeederlistFile: c.SeederlistFile,
		Node: registry.NodeID(creds.ID()), Listen: carry.listen, Dial: carry.dial, Lease: c.Lease, Log: log.Logger,
		AckPeer: c.Ack == config.AckPeer, AcceptDataLoss: c.AcceptDataLoss,
		Observe: watched.watchTracker(c, &made, knocks),
	})
	if errors.Is(err, tracker.ErrDataLoss) {
		err = fmt.Errorf("%w (--accept-data-loss)", err)
	}
	if err != nil {
		return fmt.Errorf("tracker: %w", err)
	}
	made.Store(role)
	var asked net.Listener
	if c.Admin != "" {
		if asked, err = new(net.ListenConfig).Listen(ctx, "tcp", c.Admin); err != nil {
			return errors.Join(fmt.Errorf("tracker: --admin: %w", err), runOut(ctx, role))
		}
		_, _ = fmt.Fprintf(os.Stdout, "admin on %s\n", asked.Addr())
	}
	reloads(log, config.TrackerDefaults(), from, c, func(c config.Tracker) error {
		if err := role.SetPeers(c.Peers); err != nil {
			return err
		}
		return log.setLevel(c.LogLevel)
	})
	watched.ready(ctx, trackerHealth(role))
	watched.show(func(at net.Addr, token string) http.Handler { return trackerpage.New(at, token, role) })
	_, _ = fmt.Fprintf(os.Stdout, "tracker ready on %s\n", role.Addr())
	defer started(ctx, log.Logger)()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return role.Run(ctx) })
	if asked != nil {
		tasks.Go(func() error { return admin.Serve(ctx, asked, role, trackerpage.New(asked.Addr(), watched.token, role)) })
	}
	if err := tasks.Wait(); err != nil {
		return fmt.Errorf("tracker: %w", err)
	}
	return nil
}

// runOut closes a tracker that has been made and is not to run.
func runOut(ctx context.Context, role *tracker.Tracker) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return role.Run(ctx)
}
