// Package bench is the role of the binary that measures: it drives real
// processes as hard as this machine can, the load generator included, and
// prints each figure beside what it is held against.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Report is the figures of one run, in the order in which they were taken.
type Report struct {
	Machine string   `json:"machine"` // system, processors
	Load    string   `json:"load"`    // what was driven, in words
	Figures []Figure `json:"figures"`
}

// Figure is one measured value.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Target is what Value is to reach, or to stay below where Below is set; 0
	// if there is none.
	Target float64 `json:"target,omitempty"`
	Below  bool    `json:"below,omitempty"`
}

func (r *Report) add(f Figure) { r.Figures = append(r.Figures, f) }

// Met reports whether the figure reaches its target; true without one.
func (f Figure) Met() bool {
	switch {
	case f.Target == 0:
		return true
	case f.Below:
		return f.Value <= f.Target
	}
	return f.Value >= f.Target
}

// Ratio is how many times as good as its target the figure is; 0 without one.
func (f Figure) Ratio() float64 {
	switch {
	case f.Target == 0, f.Value == 0:
		return 0
	case f.Below:
		return f.Target / f.Value
	}
	return f.Value / f.Target
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s\n%s\n\n", r.Machine, r.Load); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tMEASURED\tTARGET\tTIMES AS GOOD")
	for _, f := range r.Figures {
		target, ratio := "-", "-"
		if f.Target != 0 {
			word := "at least"
			if f.Below {
				word = "at most"
			}
			target = word + " " + amount(f.Target) + " " + f.Unit
			ratio = strconv.FormatFloat(f.Ratio(), 'f', 2, 64)
		}
		if _, err := fmt.Fprintf(tw, "%s\t%s %s\t%s\t%s\n", f.Name, amount(f.Value), f.Unit, target, ratio); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// JSON writes the report for machines.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// amount is v with three digits or more.
func amount(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
