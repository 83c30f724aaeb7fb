package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/client"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/transport/address"
	"github.com/mtor-dev/mtor/units"
)

// aloneHelp says how a command does without a running client.
const aloneHelp = `Where no client runs, and with --alone or another flag that begins with "alone:"
below, the command does it by itself, as a client that lives as long as it does: it
listens on a free port of every address of this machine, unless --addr says
otherwise, and keeps no library. MTOR_TRANSPORT, MTOR_SWARM_KEY_FILE and the like
hold for it too.`

// aloneKeys are the flags of a command that may do without a running client, and
// the settings that they are.
var aloneKeys = map[string]string{
	"addr": "addr", "transport": "transport", "swarm-key": "swarm_key_file", "log": "log_file",
	"upload-limit": "upload_limit", "download-limit": "download_limit", "on-complete": "hooks.complete",
}

func aloneFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Bool("alone", false, "do it by itself even if a client runs")
	f.String("addr", "", "alone: ip:port to listen on and be known by (default a free port of every address)")
	f.String("transport", config.TransportAuto, "alone: what to dial over: auto, tcp, tls or quic")
	f.String("swarm-key", "", "alone: file with the key of a private swarm")
	f.String("upload-limit", units.None, "alone: bytes a second to send: 20MB, 1.5MiB, 500kB, or none")
	f.String("download-limit", units.None, "alone: bytes a second to fetch")
	f.String("log", "", "alone: file to log to, - for stderr (default nothing is logged)")
}

// isAlone reports whether the command is to do without a running client, by what
// was typed.
func isAlone(cmd *cobra.Command) (bool, error) {
	alone := cmd.Flags().Changed("alone") || cmd.Flags().Changed("seed")
	for name := range aloneKeys {
		alone = alone || cmd.Flags().Changed(name)
	}
	if alone && (cmd.Flags().Changed("socket") || cmd.Flags().Changed("state")) {
		return false, usageError(errors.New("--socket and --state name a client that runs, and another flag says to do without: give the one or the other"))
	}
	return alone, nil
}

// session is a client to ask: one that runs, or one that lives as long as the
// command.
type session struct {
	api   control.API
	alone bool
	end   func() error // waits until a client of one's own has ended
}

// open finds the client to ask, or makes one for these trackers.
func (a *asking) open(cmd *cobra.Command, trackers []string) (session, error) {
	alone, err := isAlone(cmd)
	if err != nil {
		return session{}, err
	}
	if !alone {
		c, err := findClient(cmd.Context(), a.place)
		switch {
		case err == nil:
			return session{api: c, end: func() error { c.Close(); return nil }}, nil
		case !errors.Is(err, errNoneRuns):
			return session{}, err
		}
	}
	return startAlone(cmd, trackers)
}

// aloneSettings are those of a client that lives as long as the command.
func aloneSettings(cmd *cobra.Command, trackers []string, state string) (config.Client, error) {
	s := newSettings()
	for name, key := range aloneKeys {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			s.argument(key, "--"+name, f.Value.String())
		}
	}
	if s.given["addr"] == nil {
		s.argument("addr", "--addr", wildcard(cmd.Context(), trackers[0]))
	}
	if s.given["log_file"] == nil {
		s.argument("log_file", "--log", config.LogStderr) // which nothing is written to
	}
	s.argument("state", "--state", state)
	s.arguments("trackers", []string{"tracker 1", "tracker 2"}, trackers)
	l, err := load(s, config.ClientDefaults(), config.Sources{Given: s.given})
	if err != nil {
		return config.Client{}, err
	}
	return l.Settings, nil
}

// wildcard is every address of the family that a tracker is reached over.
func wildcard(ctx context.Context, tracker string) string {
	const v4, v6 = "0.0.0.0:0", "[::]:0"
	a, err := address.Parse(tracker)
	if err != nil {
		return v4 // the mistake is told by who checks it
	}
	// Nothing is sent: it is asked which way a packet would go.
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "udp", net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))))
	if err != nil {
		return v4
	}
	defer conn.Close()
	if own, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil && own.Addr().Unmap().Is6() {
		return v6
	}
	return v4
}

// startAlone runs a client for as long as the command, in a state folder that is
// deleted at its end.
func startAlone(cmd *cobra.Command, trackers []string) (s session, err error) {
	state, err := os.MkdirTemp("", "mtor-alone-")
	if err != nil {
		return s, err
	}
	undo := []func() error{func() error { return os.RemoveAll(state) }}
	end := func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	c, err := aloneSettings(cmd, trackers, state)
	if err != nil {
		return s, err
	}
	log := slog.New(slog.DiscardHandler)
	if cmd.Flags().Changed("log") {
		l, err := startLog(c.Log())
		if err != nil {
			return s, err
		}
		undo = append(undo, func() error { l.close(); return nil })
		log = l.Logger
	}
	role, err := aloneClient(cmd.Context(), c, state, log)
	if err != nil {
		return s, err
	}
	ended := make(chan error, 1)
	go func() { ended <- role.Run(cmd.Context()) }()
	undo = append(undo, func() error {
		quitting, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), graceTime)
		defer cancel()
		return errors.Join(role.Quit(quitting), <-ended)
	})
	return session{api: role, alone: true, end: end}, nil
}

func aloneClient(ctx context.Context, c config.Client, state string, log *slog.Logger) (*client.Client, error) {
	creds, err := passing(c.SwarmKeyFile)
	if err != nil {
		return nil, err
	}
	advertise, err := netip.ParseAddrPort(c.OwnAddr())
	if err != nil {
		return nil, err
	}
	carry, err := carriers{c.ListenAddr(), c.Transport, c.TCP.Congestion, creds, log, newKnocks(log).refused}.tables()
	if err != nil {
		return nil, err
	}
	movingPieces()
	role, err := client.New(ctx, client.Options{
		ID: peer.ID(creds.ID()), Addr: c.ListenAddr(), Advertise: advertise, Trackers: c.Trackers, StateDir: state,
		Listen: carry.listen, Dial: carry.dial, DialKeyed: carry.keyed,
		UploadLimit: int64(c.UploadLimit), DownloadLimit: int64(c.DownloadLimit),
		MaxPeers: c.MaxPeers, OnComplete: c.Hooks.Complete, Version: buildVersion(), Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return role, nil
}
