package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/client/library"
	"github.com/mtor-dev/mtor/roles/doctor"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/quic"
)

func newDoctorCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [client|tracker [<arguments of the role>]]",
		Short: "Find what keeps a client or a tracker from working",
		Long: `Looks at what a client or a tracker needs, with the settings that it would be
started with, and says for each thing whether it is ok, and if not, the command
that mends it:

  tracker over tcp, quic   each tracker answers over TCP and over UDP
  trackers agree           they have the same list
  clock                    this machine's clock and theirs
  address                  they would list this machine's address
  own port over tcp, quic  a tracker can reach this machine's port in turn
  udp buffers              QUIC gets the buffers that it asks for
  open files               as many as its settings may want
  folder, free space       of its state and log: writable, and with room

Run it as the user that the role runs as; the role itself may run or not. It
changes nothing. While the port is free it answers there for as long as it looks,
so that a tracker can dial it: a tracker dials nothing but the address that it is
asked from.

The settings come from --config, MTOR_CONFIG, or the usual places; the role is
told by what is in them. Without a settings file give what the role is given:
"doctor client <client_ip:upload_port> <tracker_1_ip:port> <tracker_2_ip:port>" or
"doctor tracker <my_ip:port> <other_ip:port> <seederlist_file>".

Exit codes: 0 nothing failed (there may be warnings), 1 something did, 2 wrong
usage or settings, 130 interrupted.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] != "client" && args[0] != "tracker" {
				return fmt.Errorf("%q is no role: want client or tracker", args[0])
			}
			return nil
		},
		ValidArgs: []string{"client", "tracker"},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := examined(cmd, args)
			if err != nil {
				return err
			}
			lines := doctor.Examine(cmd.Context(), o)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), doctorJSON{doctor.Worst(lines), o.Role, lines})
			} else {
				err = printDoctor(cmd.OutOrStdout(), lines)
			}
			if err == nil && doctor.Worst(lines) == doctor.Failed {
				err = &exitError{code: exitFailed}
			}
			return err
		},
	}
	addConfigFlag(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer as one JSON object")
	return cmd
}

// doctorJSON is what doctor --json answers.
type doctorJSON struct {
	Result doctor.Result `json:"result"` // the worst of all
	Role   string        `json:"role"`
	Checks []doctor.Line `json:"checks"`
}

// examined is what is to be looked at.
func examined(cmd *cobra.Command, args []string) (doctor.Options, error) {
	file, err := namedFile(cmd.Flags())
	if err != nil {
		return doctor.Options{}, err
	}
	s := newSettings()
	if len(args) > 1 {
		if err := s.doctorArguments(args[0], args[1:]); err != nil {
			return doctor.Options{}, usageError(fmt.Errorf("%s: %w", cmd.CommandPath(), err))
		}
	}
	role := ""
	if len(args) > 0 {
		role = args[0]
	}
	if role, file, err = roleOf(role, file, len(args) > 1); err != nil {
		return doctor.Options{}, usageError(fmt.Errorf("%s: %w", cmd.CommandPath(), err))
	}
	from := config.Sources{Given: s.given, File: file}
	var o doctor.Options
	if role == "client" {
		l, err := load(s, config.ClientDefaults(), from)
		if err != nil {
			return o, err
		}
		o, err = doctorOfClient(l.Settings)
		if err != nil {
			return o, err
		}
	} else {
		l, err := load(s, config.TrackerDefaults(), from)
		if err != nil {
			return o, err
		}
		o, err = doctorOfTracker(l.Settings)
		if err != nil {
			return o, err
		}
	}
	again := append([]string{"mtor", "doctor"}, args...)
	start := "mtor " + role
	if file != "" {
		again, start = append(again, "--config", file), start+" --config "+file
	}
	o.Role = role
	o.Tools.GOOS = runtime.GOOS
	o.Tools.Has = func(program string) bool { _, err := exec.LookPath(program); return err == nil }
	o.Tools.Again, o.Tools.Start = strings.Join(again, " "), start
	o.Tools.TrackerFile, o.Tools.Settings = "/etc/mtor/tracker.yaml", file
	if o.BuffersReceive, o.BuffersSend, o.BuffersWanted, err = quic.Buffers(cmd.Context()); err != nil {
		o.BuffersWanted = 0
	}
	return o, nil
}

// doctorArguments takes the role's own arguments, as the role does, but for
// its files.
func (s settings) doctorArguments(role string, args []string) error {
	s.given["log_file"] = config.LogStderr
	if role == "client" {
		if len(args) != 1+config.ClientTrackers {
			return wantArguments(clientArgs[:3], len(args))
		}
		s.argument("addr", clientArgs[0], args[0])
		s.arguments("trackers", clientArgs[1:3], args[1:])
		return nil
	}
	if len(args) != 3 {
		return wantArguments(trackerArgs[:3], len(args))
	}
	s.argument("addr", trackerArgs[0], args[0])
	s.peers(args[1], nil)
	s.argument("seederlist_file", trackerArgs[2], args[2])
	return nil
}

var errWhichRole = errors.New("which role? say client or tracker")

// roleOf finds the role and its settings file. typed says that its settings
// stand on the command line.
func roleOf(role, file string, typed bool) (string, string, error) {
	switch {
	case typed:
		return role, file, nil
	case file == "" && role != "":
		return role, config.Find(config.Places(role)), nil
	case file == "":
		c, t := config.Find(config.Places("client")), config.Find(config.Places("tracker"))
		client := c != "" || os.Getenv(config.EnvName("trackers")) != ""
		tracker := t != "" || os.Getenv(config.EnvName("peers")) != ""
		switch {
		case client && tracker:
			return "", "", errWhichRole
		case client:
			return "client", c, nil
		case tracker:
			return "tracker", t, nil
		}
		return "", "", errors.New("there is no settings file: give --config FILE, or the role and its addresses")
	case role != "":
		return role, file, nil
	}
	// The keys of a file tell whose it is.
	_, asClient := config.Load(config.ClientDefaults(), config.Sources{File: file})
	_, asTracker := config.Load(config.TrackerDefaults(), config.Sources{File: file})
	switch {
	case asClient == nil && asTracker == nil:
		return "", "", errWhichRole
	case asClient == nil:
		return "client", file, nil
	case asTracker == nil, strings.Contains(filepath.Base(file), "tracker"):
		return "tracker", file, nil
	}
	return "client", file, nil // which then says what is wrong
}

// ownFiles are what a role has open besides its sessions.
const ownFiles = 1024

// trackerSessions is how many sessions a tracker takes.
const trackerSessions = 20_000

func doctorOfClient(c config.Client) (doctor.Options, error) {
	o, err := doctorOf(c.ListenAddr(), c.OwnAddr(), c.Transport, c.SwarmKeyFile, c.Trackers)
	if err != nil {
		return o, err
	}
	state := c.State
	if state == "" {
		if state, err = library.Dir(c.OwnAddr()); err != nil {
			return o, fmt.Errorf("doctor: %w (or give state)", err)
		}
	}
	o.Files = uint64(c.MaxPeers) + ownFiles
	o.Folders = append(o.Folders, doctor.Folder{Of: "state", Path: state, File: library.FileName})
	if c.WatchTo != "" {
		o.Folders = append(o.Folders, doctor.Folder{Of: "downloads", Path: c.WatchTo})
	}
	o.Folders = append(o.Folders, logFolder(c.LogFile)...)
	return o, nil
}

func doctorOfTracker(c config.Tracker) (doctor.Options, error) {
	o, err := doctorOf(c.ListenAddr(), c.OwnAddr(), c.Transport, c.SwarmKeyFile, c.Peers)
	if err != nil {
		return o, err
	}
	o.Files = trackerSessions + ownFiles
	o.Folders = append(o.Folders, doctor.Folder{
		Of: "seederlist", Path: filepath.Dir(c.SeederlistFile), File: filepath.Base(c.SeederlistFile),
	})
	o.Folders = append(o.Folders, logFolder(c.LogFile)...)
	return o, nil
}

func logFolder(file string) []doctor.Folder {
	if file == "" || file == config.LogStderr {
		return nil
	}
	return []doctor.Folder{{Of: "log", Path: filepath.Dir(file), File: filepath.Base(file)}}
}

func doctorOf(listen, own, transport, swarmKeyFile string, trackers []string) (o doctor.Options, err error) {
	o = doctor.Options{Listen: listen, Trackers: trackers}
	if o.Own, err = netip.ParseAddrPort(own); err != nil {
		return o, fmt.Errorf("doctor: %w", err)
	}
	// A key of its own: that of the role is not to be made by looking.
	creds := identity.Ephemeral()
	if swarmKeyFile != "" {
		swarm, err := identity.OpenSwarm(swarmKeyFile)
		if err != nil {
			return o, keyError("swarm key", err)
		}
		creds = identity.New(identity.NewKey(), swarm)
	}
	o.ID, o.Dials = creds.ID(), config.Schemes(transport, creds.Private())
	o.Tools.SwarmKey, o.Tools.SetSwarmKey = cmp.Or(swarmKeyFile, "/etc/mtor/swarm.key"), swarmKeyFile == ""
	carry, err := carriers{listen, transport, "", creds, slog.New(slog.DiscardHandler), nil}.tables()
	o.Carriers = carry.listen
	return o, err
}

// printDoctor writes a line for each finding, and below it how it is mended.
func printDoctor(w io.Writer, lines []doctor.Line) error {
	var b strings.Builder
	n := map[doctor.Result]int{}
	wide, far := 0, 0 // of the columns
	for _, l := range lines {
		n[l.Result]++
		wide, far = max(wide, len(checkWords(l))), max(far, len(l.Subject))
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "%-8s %-*s  %-*s  %s\n", l.Result, wide, checkWords(l), far, printable(l.Subject), printable(l.Detail))
		if l.Mend != "" {
			where := "mend"
			if l.On != "" {
				where = "on " + l.On
			}
			fmt.Fprintf(&b, "%-8s %s: %s\n", "", where, printable(l.Mend))
		}
	}
	fmt.Fprintf(&b, "%d ok, %s, %d failed\n", n[doctor.OK], count(n[doctor.Warning], "warning"), n[doctor.Failed])
	_, err := io.WriteString(w, b.String())
	return err
}

// checkWords are the words for what was looked at: "tracker over tcp".
func checkWords(l doctor.Line) string {
	what := strings.ReplaceAll(l.Check, "_", " ")
	for _, of := range []string{"tracker ", "own port "} {
		if rest, ok := strings.CutPrefix(what, of); ok {
			return of + "over " + rest
		}
	}
	return what
}
