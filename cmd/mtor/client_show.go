package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/units"
)

func newClientDownloadsCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "downloads",
		Short: "List what a running client downloads and seeds",
		Long: `Lists everything in the library of a running client, in the order it was added:
checking, downloading, no_room (waits for room on its disk), seeding, paused,
failed or missing, and what stands in the way.

` + whichHelp + "\n\n" + askExit,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(api control.API) error {
				list, err := api.Downloads(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return writeJSON(cmd.OutOrStdout(), struct {
						Torrents []control.Download `json:"torrents"`
					}{list})
				}
				return printDownloads(cmd.OutOrStdout(), list)
			})
		},
	}, "answer as one JSON object")
}

func printDownloads(w io.Writer, list []control.Download) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no downloads")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STATE\tNAME\tSIZE\tDONE\tDOWN\tUP\tPEERS\tLEFT\tNOTE")
	for _, d := range list {
		fmt.Fprintln(tw, strings.Join([]string{
			string(d.State), printable(d.Name), bytesText(d.Size), percent(d), rateText(d.DownRate), rateText(d.UpRate),
			strconv.Itoa(d.Peers), leftText(d), noteText(d),
		}, "\t"))
	}
	return tw.Flush()
}

func noteText(d control.Download) string {
	if d.Note == "" {
		return "-"
	}
	return printable(d.Note)
}

func newClientPeersCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "peers NAME",
		Short: "List who is connected for a torrent, and what came from whom",
		Long: `Lists the peers that are connected for a torrent: where, over which transport, how
many pieces each has, how many came from it and are asked of it, and how fast it
sends and is sent. NAME is the name or path of the .mtorrent, the filename, or the
torrent's ID.

` + whichHelp + "\n\n" + askExit,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeTorrents(1, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(api control.API) error {
				list, err := api.Peers(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if a.json {
					return writeJSON(cmd.OutOrStdout(), struct {
						Peers []control.Peer `json:"peers"`
					}{list})
				}
				return printPeers(cmd.OutOrStdout(), list)
			})
		},
	}, "answer as one JSON object")
}

func printPeers(w io.Writer, list []control.Peer) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no peers")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PEER\tTRANSPORT\tDIALLED\tHAS\tRECEIVED\tASKED\tDOWN\tUP")
	for _, p := range list {
		by := "by it"
		if p.Dialled {
			by = "by us"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d of %d\t%d\t%d\t%s\t%s\n", p.Addr, p.Transport, by, p.Pieces, p.Of,
			p.Received, p.Asked, rateText(p.DownRate), rateText(p.UpRate))
	}
	return tw.Flush()
}

func newClientStatusCmd() *cobra.Command {
	a := new(asking)
	return a.flags(&cobra.Command{
		Use:   "status",
		Short: "Tell how a running client is",
		Long: `Tells where a client listens and what it is listed as, how many torrents it has in
which state, how fast they are, and whether its trackers answer.

` + whichHelp + "\n\n" + askExit,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(api control.API) error {
				s, err := api.Status(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return writeJSON(cmd.OutOrStdout(), s)
				}
				return printClientStatus(cmd.OutOrStdout(), s, time.Now())
			})
		},
	}, "answer as one JSON object")
}

func printClientStatus(w io.Writer, s control.Status, now time.Time) error {
	var torrents []string
	for _, state := range control.States {
		if n := s.Torrents[state]; n > 0 {
			torrents = append(torrents, fmt.Sprintf("%d %s", n, state))
		}
	}
	if len(torrents) == 0 {
		torrents = []string{"none"}
	}
	fields := [][2]string{
		{"client", fmt.Sprintf("%s, listed as %s", s.Addr, s.Listed)},
		{"process", fmt.Sprintf("%d, mtor %s, up for %s", s.PID, s.Version, max(0, now.Sub(s.Started)).Round(time.Second))},
		{"state folder", s.StateDir},
		{"torrents", strings.Join(torrents, ", ")},
		{"down", fmt.Sprintf("%s, limit %s", rateText(s.DownRate), units.Rate(s.Limits.Down))},
		{"up", fmt.Sprintf("%s, limit %s", rateText(s.UpRate), units.Rate(s.Limits.Up))},
		{"sessions", strconv.Itoa(s.Sessions)},
	}
	for _, set := range s.Trackers {
		answers := "one answers"
		switch {
		case !set.Reachable:
			answers = "none answers"
		case !set.Answered:
			answers = "none has answered yet"
		}
		fields = append(fields, [2]string{"trackers", strings.Join(set.Addrs, ", ") + ": " + answers})
	}
	return writeFields(w, fields)
}

// percent is rounded down: 100% is said of a whole file alone.
func percent(d control.Download) string {
	if d.Size <= 0 {
		return "100%"
	}
	return strconv.FormatInt(d.Done*100/d.Size, 10) + "%"
}

func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func rateText(bytes float64) string { return bytesText(int64(bytes)) + "/s" }

// leftText is how long a download takes yet.
func leftText(d control.Download) string {
	left, ok := d.Left()
	if !ok {
		return "-"
	}
	if left < time.Second {
		return "<1s"
	}
	return left.Round(time.Second).String()
}
