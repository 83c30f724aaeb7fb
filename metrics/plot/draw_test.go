package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestPictureIsWellFormedAndShowsEachLine(t *testing.T) {
	begin := time.Unix(1000, 500e6)
	p := panel{Type: "timeseries", Title: `a < b & "c"`}
	p.GridPos.W, p.GridPos.H = 24, 8
	none := p
	none.Title, none.GridPos.Y = "nothing", 8
	lines := []line{{"one", []float64{1000.5, 1005.5, 1010.5}, []float64{0, 1, 2}}, {"cut", []float64{1001, 1009}, []float64{1, 1}}}
	got := draw(dashboard{Title: "d", Panels: []panel{p, none}}, [][]line{lines, nil}, begin, begin.Add(10*time.Second))
	for dec := xml.NewDecoder(strings.NewReader(got)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, got)
		}
	}
	for _, want := range []string{
		`>a &lt; b &amp; &#34;c&#34;<`, ">one<", ">cut<", ">no data<",
		`d="M74.0 `, // the first point is at the left edge
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, " L") {
		t.Error("points that are seconds apart at four a second are joined")
	}
}

func TestNumbersHaveTheirUnits(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{1536, "bytes", "1.5 KiB"}, {2e6, "Bps", "2 MB/s"}, {0.0125, "s", "12.5 ms"}, {3, "s", "3 s"},
		{0.5, "percentunit", "50 %"}, {7, "reqps", "7/s"}, {1234, "short", "1234"},
	} {
		if got := number(c.v, c.unit); got != c.want {
			t.Errorf("%v %s is %q: want %q", c.v, c.unit, got, c.want)
		}
	}
}
