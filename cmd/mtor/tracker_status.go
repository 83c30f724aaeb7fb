package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/tracker/admin"
)

func newTrackerStatusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [<admin_ip:port>]",
		Short: "Ask a running tracker how it and its links with the others are",
		Long: `Asks the tracker that was started with --admin <admin_ip:port> on this machine.
Without the address it takes that of MTOR_ADMIN.

For each other tracker: whether this one pulls from it and it from this one; lag
is how long the newest change that it acknowledged took to its disk, or how long
the oldest that it has not waits; behind is how many changes it has not
acknowledged.

Repaired is how many rows the tracker took from the others since it started
because the lists differed although neither had missed anything: 0 unless a disk
was set back. The log has a line for each time.

Exit codes: 0 ok, 1 no tracker answers there, 2 wrong usage.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr := ""
			if len(args) > 0 {
				addr = args[0]
			}
			addr, err := adminAddr("<admin_ip:port>", addr)
			if err != nil {
				return err
			}
			s, err := admin.Ask(cmd.Context(), addr)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), s)
			}
			return printStatus(cmd.OutOrStdout(), s, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer as one JSON object")
	return cmd
}

// trackerID matches a tracker's ID, or enough of its beginning.
var trackerID = regexp.MustCompile("^[0-9a-fA-F]{8,40}$")

func newTrackerForgetCmd() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "forget <id>",
		Short: "Have a tracker forget another one that will not return",
		Long: `Tells the running tracker at --admin that the tracker of this ID will not return:
nothing is kept for it any longer, and those of its clients that have not turned
to another tracker go off the lists within an eighth of a lease. The ID is the
one that "mtor tracker status" shows, or its first 8 digits and more. Do so at
each tracker that is left. One that is connected is refused.

Exit codes: 0 ok, 1 refused, or no tracker answers there, 2 wrong usage.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := adminAddr("--admin", addr)
			if err != nil {
				return err
			}
			if !trackerID.MatchString(args[0]) {
				return usageError(fmt.Errorf("<id>: %q is no tracker's ID: want 8 to 40 of the hex digits that mtor tracker status shows", args[0]))
			}
			return admin.Forget(cmd.Context(), addr, args[0])
		},
	}
	cmd.Flags().StringVar(&addr, "admin", "", "admin address of the running tracker (or MTOR_ADMIN)")
	return cmd
}

// adminAddr is given, by the name that the user knows it by, or what the
// environment says.
func adminAddr(name, given string) (string, error) {
	if given == "" {
		name = config.EnvName("admin")
		given = os.Getenv(name)
	}
	if given == "" {
		return "", usageError(fmt.Errorf("which tracker? give the ip:port of its --admin, or set %s", name))
	}
	if err := config.CheckAdmin(given); err != nil {
		return "", settings{names: map[string]string{"admin": name}}.explain(err)
	}
	return given, nil
}

func printStatus(w io.Writer, s admin.Status, now time.Time) error {
	err := writeFields(w, [][2]string{
		{"tracker", s.Addr},
		{"ID", s.Node},
		{"torrents", strconv.Itoa(s.Torrents)},
		{"seeders", strconv.Itoa(s.Seeders)},
		{"sessions", strconv.Itoa(s.Sessions)},
		{"repaired", count(s.Repaired, "row")},
	})
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nOTHER TRACKER\tID\tLINK\tLAG\tBEHIND\tLAST CONTACT")
	for _, t := range s.Trackers {
		addr := t.Addr
		if addr == "" {
			addr = "(not configured)"
		}
		lag, behind, contact := "-", "-", "never"
		if t.Lag != nil {
			lag = time.Duration(*t.Lag * float64(time.Second)).Round(10 * time.Microsecond).String()
		}
		if t.RowsBehind != nil {
			behind = strconv.FormatUint(*t.RowsBehind, 10)
		}
		if t.LastContact != nil {
			contact = max(0, now.Sub(*t.LastContact)).Round(100*time.Millisecond).String() + " ago"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", addr, shortID(t.Node), linkWords(t), lag, behind, contact)
	}
	return tw.Flush()
}

func linkWords(t admin.Tracker) string {
	switch {
	case t.Connected && t.Following:
		return "both ways"
	case t.Connected:
		return "from it only"
	case t.Following:
		return "to it only"
	}
	return "down"
}
