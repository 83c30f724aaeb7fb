package carry

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

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
	// For is how long each fetch went on; 0 until the file was whole.
	For  time.Duration `json:"for_ns,omitempty"`
	Rows []Row         `json:"rows"`
}

// Row is one way to fetch.
type Row struct {
	Transport  string `json:"transport"`
	Congestion string `json:"congestion,omitempty"` // of TCP, where it was chosen
	Bare       bool   `json:"bare"`                 // the limit, not mtor
	Peers      int    `json:"peers"`                // fetched from at once
	Streams    int    `json:"streams,omitempty"`    // in flight with each; 0 for a bare one
	Speed      Spread `json:"mb_per_second"`        // 10^6 bytes
	// CPU is that of both processes for each GiB (2^30 bytes), Receiver and
	// Sender are the parts.
	CPU      Spread `json:"cpu_s_per_gib"`
	Receiver Spread `json:"receiver_cpu_s_per_gib"`
	Sender   Spread `json:"sender_cpu_s_per_gib"`
	// First is from the beginning of dialling to the first byte of the file.
	First Spread `json:"first_byte_ms"`
	// Memory is how many bytes the fetching process grew by at most.
	Memory Spread `json:"receiver_memory_bytes"`
	// Relay is the CPU time of what emulates the path, as a part of one
	// processor's; nil without one.
	Relay *Spread `json:"relay_cpu,omitempty"`
	// Idle is the part of this machine's processors that nothing used
	// meanwhile; nil where that cannot be told.
	Idle *Spread `json:"idle,omitempty"`
	// Ratio and CPURatio hold each round against the bare one of the same
	// round; nil where there is none, and with several peers.
	Ratio    *Spread `json:"speed_to_bare,omitempty"`
	CPURatio *Spread `json:"cpu_to_bare,omitempty"`
}

func newReport(o Options, w *welcome, ways []way, rounds [][]round) *Report {
	r := &Report{
		Fetching: Machine(), Serving: w.Machine, FileSystem: FileSystem(o.Dir), ServedFrom: w.FileSystem,
		Size: w.Size, Rounds: o.Rounds, For: o.For,
	}
	bare := map[string][]round{}
	for i, way := range ways {
		if way.bare {
			bare[way.name()] = rounds[i]
		}
	}
	for i, way := range ways {
		of := func(f func(round) float64) Spread {
			values := make([]float64, len(rounds[i]))
			for n, one := range rounds[i] {
				values[n] = f(one)
			}
			return SpreadOf(values)
		}
		row := Row{
			Transport: way.scheme, Congestion: way.congestion, Bare: way.bare, Peers: way.peers, Streams: way.streams,
			Speed:    of(func(r round) float64 { return r.speed() / 1e6 }),
			CPU:      of(func(r round) float64 { return (r.here + r.there).Seconds() / r.gib() }),
			Receiver: of(func(r round) float64 { return r.here.Seconds() / r.gib() }),
			Sender:   of(func(r round) float64 { return r.there.Seconds() / r.gib() }),
			First:    of(func(r round) float64 { return float64(r.first.Microseconds()) / 1000 }),
			Memory:   of(func(r round) float64 { return float64(r.memory) }),
		}
		if o.Relay != nil {
			relay := of(func(r round) float64 { return r.relay.Seconds() / r.took.Seconds() })
			row.Relay = &relay
		}
		if idle := of(func(r round) float64 { return r.idle }); idle.Min >= 0 {
			row.Idle = &idle
		}
		limit := way
		limit.bare = true
		if limit := bare[limit.name()]; limit != nil && !way.bare && way.peers == 1 {
			speeds, cpus := make([]float64, len(limit)), make([]float64, len(limit))
			for n, one := range rounds[i] {
				if speed := limit[n].speed(); speed > 0 {
					speeds[n] = one.speed() / speed
				}
				if cpu := (limit[n].here + limit[n].there).Seconds() / limit[n].gib(); cpu > 0 {
					cpus[n] = (one.here + one.there).Seconds() / one.gib() / cpu
				}
			}
			speed, cpu := SpreadOf(speeds), SpreadOf(cpus)
			row.Ratio, row.CPURatio = &speed, &cpu
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

// speed is in bytes a second.
func (r round) speed() float64 { return float64(r.got) / r.took.Seconds() }

// gib is what came, and a byte at least, to divide by.
func (r round) gib() float64 { return float64(max(r.got, 1)) / (1 << 30) }

// Rounds says how many rounds there were.
func Rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "fetching: %s, writing to %s\nserving:  %s, from %s\n", r.Fetching, r.FileSystem, r.Serving, r.ServedFrom)
	how := "over one connection"
	if r.For > 0 {
		how = fmt.Sprintf("for %s at most", r.For)
	}
	fmt.Fprintf(w, "%d MiB in pieces of 512 KiB %s, each checked (SHA-1) and written; %s, median (min-max)\n\n", r.Size>>20, how, Rounds(r.Rounds))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tIN FLIGHT\tMB/s\tTO BARE\tCPU-s/GiB, BOTH ENDS\tTO BARE\tRECEIVER\tSENDER\tFIRST BYTE, ms\tRECEIVER'S MEMORY, MiB")
	for _, row := range r.Rows {
		if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%s\t%.0f\n", row.Name(), row.inFlight(),
			row.Speed.Text(0), ratio(row.Ratio), row.CPU.Text(2), ratio(row.CPURatio),
			row.Receiver.Median, row.Sender.Median, row.First.Text(1), row.Memory.Max/(1<<20)); err != nil {
			return err
		}
	}
	return t.Flush()
}

// Name is that of the transport, "bare tcp bbr" at its longest.
func (r Row) Name() string {
	return way{scheme: r.Transport, congestion: r.Congestion, bare: r.Bare}.name()
}

func (r Row) inFlight() string {
	switch {
	case r.Streams == 0:
		return "-"
	case r.Peers > 1:
		return fmt.Sprintf("%d x %d", r.Peers, r.Streams)
	}
	return strconv.Itoa(r.Streams)
}

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
	places := map[string]int{}
	for _, row := range r.Rows {
		if _, ok := places[row.inFlight()]; !ok && !row.Bare {
			places[row.inFlight()] = len(speed.Ticks)
			speed.Ticks = append(speed.Ticks, row.inFlight())
		}
	}
	cpu.Ticks = speed.Ticks
	for _, c := range []struct {
		to *chart.Chart
		of func(Row) Spread
	}{{&speed, func(r Row) Spread { return r.Speed }}, {&cpu, func(r Row) Spread { return r.CPU }}} {
		at := map[string]int{}
		for _, row := range r.Rows {
			i, ok := at[row.Name()]
			if !ok {
				i = len(c.to.Lines)
				at[row.Name()] = i
				c.to.Lines = append(c.to.Lines, chart.Line{Name: row.Name(), Dashed: row.Bare})
			}
			l, s := &c.to.Lines[i], c.of(row)
			if row.Bare {
				for p := range speed.Ticks {
					l.Points = append(l.Points, chart.Point{At: p, Y: s.Median})
				}
				continue
			}
			l.Points = append(l.Points, chart.Point{At: places[row.inFlight()], Y: s.Median, Low: s.Min, High: s.Max})
		}
	}
	return chart.SVG(w, speed, cpu)
}
