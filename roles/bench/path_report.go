package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/mtor-dev/mtor/roles/bench/carry"
	"github.com/mtor-dev/mtor/roles/bench/chart"
	"github.com/mtor-dev/mtor/roles/bench/netpath"
)

// PathReport is what was measured over emulated paths.
type PathReport struct {
	Machine    string        `json:"machine"`
	FileSystem string        `json:"file_system"`
	Rounds     int           `json:"rounds"`
	For        time.Duration `json:"for_ns"` // each fetch went on at most
	Paths      []OverPath    `json:"paths"`
}

// OverPath is one path, and what went over it.
type OverPath struct {
	Rate  int64         `json:"bits_per_second"`
	RTT   time.Duration `json:"rtt_ns"`
	Loss  float64       `json:"loss"`
	Queue int64         `json:"queue_bytes"`
	// Carried, Lost and Dropped count packets, of both ways and all rows.
	Carried int64       `json:"packets_carried"`
	Lost    int64       `json:"packets_lost"`
	Dropped int64       `json:"packets_dropped"` // since the queue was full
	Rows    []carry.Row `json:"rows"`
}

// A row is short of CPU when next to none of the machine's was idle, or when the
// relay, a way of which is one goroutine after the other, was always at work.
const (
	busyIdle  = 0.05
	busyRelay = 0.9
)

func short(r carry.Row) bool {
	return r.Idle != nil && r.Idle.Median < busyIdle || r.Relay != nil && r.Relay.Median > busyRelay
}

// Print writes the report as a table.
func (r *PathReport) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, files on %s\nbetween two network namespaces, over a path that a relay in user space emulates; each fetch goes on for %s; %s in turn, median (min-max)\n\n",
		r.Machine, r.FileSystem, r.For, carry.Rounds(r.Rounds))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RATE\tRTT\tLOSS\tOVER\tPEERS\tIN FLIGHT\tMB/s\tOF THE RATE\tTO BARE\tCPU-s/GiB, BOTH ENDS\tRELAY'S CPU\tIDLE CPU\t")
	for _, p := range r.Paths {
		for _, row := range p.Rows {
			inFlight, ratio, relay, idle, note := "-", "-", "-", "-", ""
			if row.Streams > 0 {
				inFlight = strconv.Itoa(row.Streams)
			}
			if row.Ratio != nil {
				ratio = row.Ratio.Text(2)
			}
			if row.Relay != nil {
				relay = percent(row.Relay.Median)
			}
			if row.Idle != nil {
				idle = percent(row.Idle.Median)
			}
			if short(row) {
				note = "short of CPU"
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%.1f\t%s\t%s\t%s\n",
				netpath.FormatRate(p.Rate), p.RTT, netpath.FormatLoss(p.Loss), row.Name(), row.Peers, inFlight,
				row.Speed.Text(1), percent(row.Speed.Median*8e6/float64(p.Rate)), ratio, row.CPU.Median, relay, idle, note); err != nil {
				return err
			}
		}
	}
	return t.Flush()
}

func percent(part float64) string { return strconv.FormatFloat(100*part, 'f', 0, 64) + "%" }

// JSON writes the report for machines.
func (r *PathReport) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Plot draws a chart for each rate, round-trip time and number of peers: the
// speed over the losses.
func (r *PathReport) Plot(w io.Writer) error {
	var charts []chart.Chart
	for _, p := range r.Paths {
		for _, row := range p.Rows {
			title := fmt.Sprintf("%s, %s there and back, %s", netpath.FormatRate(p.Rate), p.RTT, peers(row.Peers))
			i := slices.IndexFunc(charts, func(c chart.Chart) bool { return c.Title == title })
			if i < 0 {
				i = len(charts)
				charts = append(charts, chart.Chart{Title: title, X: "packets lost, each way", Y: "MB/s"})
			}
			draw(&charts[i], netpath.FormatLoss(p.Loss), row)
		}
	}
	return chart.SVG(w, charts...)
}

// draw adds a row to its line, at the place of that name.
func draw(c *chart.Chart, tick string, row carry.Row) {
	if !slices.Contains(c.Ticks, tick) {
		c.Ticks = append(c.Ticks, tick)
	}
	name := row.Name()
	if row.Streams > 0 {
		name += fmt.Sprintf(", %d in flight", row.Streams)
	}
	i := slices.IndexFunc(c.Lines, func(l chart.Line) bool { return l.Name == name })
	if i < 0 {
		i = len(c.Lines)
		c.Lines = append(c.Lines, chart.Line{Name: name, Dashed: row.Bare})
	}
	c.Lines[i].Points = append(c.Lines[i].Points, chart.Point{
		At: slices.Index(c.Ticks, tick), Y: row.Speed.Median, Low: row.Speed.Min, High: row.Speed.Max,
	})
}

func peers(n int) string {
	if n == 1 {
		return "one peer"
	}
	return fmt.Sprintf("%d peers", n)
}
