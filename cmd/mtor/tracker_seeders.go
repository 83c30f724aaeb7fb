package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/roles/tracker"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

func newTrackerSeedersCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "seeders <seederlist_file>",
		Short: "Print the seeder list of a stopped tracker",
		Long: `Reads a seederlist file and prints who is listed for what, one line for each
client of each torrent, in the order of torrent IDs and addresses. The file is
not changed. That of a running tracker is refused.

Exit codes: 0 ok, 1 the file is in use, damaged or cannot be read, 2 wrong usage.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show := printSeeders
			if asJSON {
				show = printSeedersJSON
			}
			err := show(cmd.OutOrStdout(), args[0])
			if who := tracker.Holder(args[0]); errors.Is(err, registry.ErrInUse) && who != "" {
				err = fmt.Errorf("%w (%s)", err, who)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer as one JSON object")
	return cmd
}

func printSeeders(w io.Writer, path string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TORRENT\tFILENAME\tSIZE\tCLIENT\tHAS\tSINCE")
	sum, err := registry.Dump(path, func(l registry.Listing) error {
		for _, s := range l.Seeders {
			_, err := fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Torrent, printable(l.Info.Name),
				humanize.IBytes(uint64(l.Info.Size)), s.Addr, has(s.Whole), s.Since.UTC().Format(time.RFC3339))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s, %s, tracker %s\n", count(sum.Torrents, "torrent"), count(sum.Listed, "seeder"), sum.Node)
	return err
}

// count is a number of things, "1 seeder" or "2 seeders".
func count[N int | uint64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

func has(whole bool) string {
	if whole {
		return "whole"
	}
	return "part"
}

// seedersJSON is what `seeders --json` answers, but for the list, which may be
// long and is written as it is read.
type seedersJSON struct {
	Node     string `json:"node"`
	Torrents int    `json:"torrents"`
	Seeders  int    `json:"seeders"`
}

type torrentJSON struct {
	ID      string       `json:"torrent_id"`
	Name    string       `json:"filename"`
	Size    int64        `json:"filesize"`
	Seeders []seederJSON `json:"seeders"`
}

type seederJSON struct {
	Addr  string    `json:"address"`
	Whole bool      `json:"whole"`
	Since time.Time `json:"since"`
	Home  string    `json:"home,omitempty"`
}

func printSeedersJSON(w io.Writer, path string) error {
	// A torrent a line: a reader may stop early, and no memory holds it all.
	lead := "{\n\"list\": [\n"
	sum, err := registry.Dump(path, func(l registry.Listing) error {
		t := torrentJSON{ID: l.Torrent.String(), Name: l.Info.Name, Size: l.Info.Size, Seeders: []seederJSON{}}
		for _, s := range l.Seeders {
			home := ""
			if s.Home != (registry.NodeID{}) {
				home = s.Home.String()
			}
			t.Seeders = append(t.Seeders, seederJSON{s.Addr.String(), s.Whole, s.Since.UTC(), home})
		}
		if _, err := io.WriteString(w, lead); err != nil {
			return err
		}
		lead = ","
		return writeJSON(w, t)
	})
	if err != nil {
		return err
	}
	if lead == "," {
		lead = ""
	}
	if _, err := fmt.Fprintf(w, "%s],\n\"tracker\": ", lead); err != nil {
		return err
	}
	if err := writeJSON(w, seedersJSON{sum.Node.String(), sum.Torrents, sum.Listed}); err != nil {
		return err
	}
	_, err = io.WriteString(w, "}\n")
	return err
}

// shortID is enough of a tracker's ID to tell it from a few others.
func shortID(id string) string {
	if id == "" {
		return "-"
	}
	return strings.ToLower(id[:min(len(id), 12)])
}
