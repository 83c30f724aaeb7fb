package carry

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/mtor-dev/mtor/roles/bench/chart"
)

// Report is what a run has measured.
type Report struct {
	Fetching   string `json:"fetching"` // the machine
	Serving    string `json:"serving"`
	FileSystem string `json:"file_system"` // that pieces are written to
	ServedFrom string `json:"served_from"` // the file system of the file
	Size       int64  `json:"size_bytes"`
	Rounds     int    `json:"rounds"`
	Rows       []Row  `json:"rows"`
}

// Row is one way to fetch.
type Row struct {
	Transport string `json:"transport"`
	Bare      bool   `json:"bare"`              // the limit, not mtor
	Streams   int    `json:"streams,omitempty"` // in flight; 0 for a bare one
	Speed     Spread `json:"mb_per_second"`     // 10^6 bytes
	// CPU is that of both processes for each GiB (2^30 bytes), Receiver and
	// Sender are the parts.
	CPU      Spread `json:"cpu_s_per_gib"`
	Receiver Spread `json:"receiver_cpu_s_per_gib"`
	Sender   Spread `json:"sender_cpu_s_per_gib"`
	// First is from the beginning of dialling to the first byte of the file.
	First Spread `json:"first_byte_ms"`
	// Ratio and CPURatio hold each round against the bare one of the same
	// round; nil where there is none.
	Ratio    *Spread `json:"speed_to_bare,omitempty"`
	CPURatio *Spread `json:"cpu_to_bare,omitempty"`
}

func newReport(o Options, w *welcome, ways []way, rounds [][]round) *Report {
	r := &Report{
		Fetching: Machine(), Serving: w.Machine, FileSystem: FileSystem(o.Dir), ServedFrom: w.FileSystem,
		Size: w.Size, Rounds: o.Rounds,
	}
	bare := map[string][]round{}
	for i, way := range ways {
		if way.bare {
			bare[way.scheme] = rounds[i]
		}
	}
	gib := float64(w.Size) / (1 << 30)
	for i, way := range ways {
		of := func(f func(round) float64) Spread {
			values := make([]float64, len(rounds[i]))
			for n, one := range rounds[i] {
				values[n] = f(one)
			}
			return SpreadOf(values)
		}
		row := Row{
			Transport: way.scheme, Bare: way.bare, Streams: way.streams,
			Speed:    of(func(r round) float64 { return float64(w.Size) / 1e6 / r.took.Seconds() }),
			CPU:      of(func(r round) float64 { return (r.here + r.there).Seconds() / gib }),
			Receiver: of(func(r round) float64 { return r.here.Seconds() / gib }),
			Sender:   of(func(r round) float64 { return r.there.Seconds() / gib }),
			First:    of(func(r round) float64 { return float64(r.first.Microseconds()) / 1000 }),
		}
		if limit := bare[way.scheme]; limit != nil && !way.bare {
			speeds, cpus := make([]float64, len(limit)), make([]float64, len(limit))
			for n, one := range rounds[i] {
				speeds[n] = limit[n].took.Seconds() / one.took.Seconds()
				if cpu := limit[n].here + limit[n].there; cpu > 0 {
					cpus[n] = (one.here + one.there).Seconds() / cpu.Seconds()
				}
			}
			speed, cpu := SpreadOf(speeds), SpreadOf(cpus)
			row.Ratio, row.CPURatio = &speed, &cpu
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "fetching: %s, writing to %s\nserving:  %s, from %s\n", r.Fetching, r.FileSystem, r.Serving, r.ServedFrom)
	fmt.Fprintf(w, "%d MiB in pieces of 512 KiB over one connection, each checked (SHA-1) and written; %d rounds, median (min-max)\n\n", r.Size>>20, r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tIN FLIGHT\tMB/s\tTO BARE\tCPU-s/GiB, BOTH ENDS\tTO BARE\tRECEIVER\tSENDER\tFIRST BYTE, ms")
	for _, row := range r.Rows {
		name, streams := row.name(), "-"
		if row.Streams > 0 {
			streams = strconv.Itoa(row.Streams)
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%s\n", name, streams,
			row.Speed.Text(0), ratio(row.Ratio), row.CPU.Text(2), ratio(row.CPURatio),
			row.Receiver.Median, row.Sender.Median, row.First.Text(1)); err != nil {
			return err
		}
	}
	return t.Flush()
}

func (r Row) name() string { return way{scheme: r.Transport, bare: r.Bare}.name() }

// Text is a spread with so many digits behind the point.
func (s Spread) Text(digits int) string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	return fmt.Sprintf("%s (%s-%s)", f(s.Median), f(s.Min), f(s.Max))
}

func ratio(s *Spread) string {
	if s == nil {
		return "-"
	}
	return s.Text(2)
}

// JSON writes the report for machines.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Plot draws the report: speed and CPU time over the streams in flight.
func (r *Report) Plot(w io.Writer) error {
	speed := chart.Chart{Title: "Speed over one connection", X: "pieces in flight", Y: "MB/s"}
	cpu := chart.Chart{Title: "CPU time of both ends", X: "pieces in flight", Y: "CPU seconds per GiB"}
	places := map[int]int{}
	for _, row := range r.Rows {
		if _, ok := places[row.Streams]; !ok && !row.Bare {
			places[row.Streams] = len(speed.Ticks)
			speed.Ticks = append(speed.Ticks, strconv.Itoa(row.Streams))
		}
	}
	cpu.Ticks = speed.Ticks
	for _, c := range []struct {
		to *chart.Chart
		of func(Row) Spread
	}{{&speed, func(r Row) Spread { return r.Speed }}, {&cpu, func(r Row) Spread { return r.CPU }}} {
		at := map[string]int{}
		for _, row := range r.Rows {
			i, ok := at[row.name()]
			if !ok {
				i = len(c.to.Lines)
				at[row.name()] = i
				c.to.Lines = append(c.to.Lines, chart.Line{Name: row.name(), Dashed: row.Bare})
			}
			l, s := &c.to.Lines[i], c.of(row)
			if row.Bare {
				for p := range speed.Ticks {
					l.Points = append(l.Points, chart.Point{At: p, Y: s.Median})
				}
				continue
			}
			l.Points = append(l.Points, chart.Point{At: places[row.Streams], Y: s.Median, Low: s.Min, High: s.Max})
		}
	}
	return chart.SVG(w, speed, cpu)
}
