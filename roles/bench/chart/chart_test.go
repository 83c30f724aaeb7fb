package chart

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

func TestPictureIsWellFormedAndShowsEveryPoint(t *testing.T) {
	var b strings.Builder
	c := Chart{
		Title: "speed <of> all & any", X: "streams", Y: "MB/s", Ticks: []string{"1", "4"},
		Lines: []Line{
			{Name: "tcp", Points: []Point{{0, 100, 90, 110}, {1, 900, 0, 0}}},
			{Name: "bare", Dashed: true, Points: []Point{{0, 1000, 0, 0}, {1, 1000, 0, 0}}},
		},
	}
	if err := SVG(&b, c, c); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, &b)
		}
		if e, ok := token.(xml.StartElement); ok {
			seen[e.Name.Local]++
		}
	}
	if seen["circle"] != 4 || seen["polyline"] != 4 {
		t.Errorf("drew %v", seen)
	}
}

func TestLimitAtOnePlaceIsALineAcrossIt(t *testing.T) {
	var b strings.Builder
	c := Chart{Ticks: []string{"0.1%"}, Lines: []Line{{Name: "bare", Dashed: true, Points: []Point{{Y: 10}}}}}
	if err := SVG(&b, c); err != nil {
		t.Fatal(err)
	}
	var x1, y1, x2, y2 float64
	_, drawn, _ := strings.Cut(b.String(), `<polyline points="`)
	if n, err := fmt.Sscanf(drawn, "%f,%f %f,%f", &x1, &y1, &x2, &y2); n != 4 || x1 >= c.x(0) || x2 <= c.x(0) || y1 != y2 {
		t.Errorf("drew from %v,%v to %v,%v (%v)", x1, y1, x2, y2, err)
	}
}

func TestHigherValuesStandHigher(t *testing.T) {
	c := Chart{Ticks: []string{"a"}, Lines: []Line{{Points: []Point{{0, 7, 5, 9}}}}}
	_, most := scale(c.most())
	if low, high := c.y(5, most), c.y(9, most); high >= low || high < top || low > top+plotHeight {
		t.Errorf("5 at %v, 9 at %v", low, high)
	}
}

func TestAxisHoldsEveryValueInAFewSteps(t *testing.T) {
	for most := 1e-3; most < 1e6; most *= 1.07 {
		step, end := scale(most)
		if n := end / step; end < most*0.9999 || n < 3.99 || n > 10.01 {
			t.Fatalf("up to %v: %v steps of %v, to %v", most, n, step, end)
		}
	}
}

func TestWhatCannotBeDrawnIsRefused(t *testing.T) {
	for _, p := range []Point{{At: 1}, {At: -1}, {Y: math.NaN()}, {Y: math.Inf(1)}, {Low: -1}} {
		c := Chart{Title: "t", Ticks: []string{"only"}, Lines: []Line{{Name: "l", Points: []Point{p}}}}
		var b strings.Builder
		if err := SVG(&b, c); err == nil || b.Len() > 0 {
			t.Errorf("%+v: %v, wrote %d bytes", p, err, b.Len())
		}
	}
	if err := SVG(io.Discard, Chart{}); err == nil {
		t.Error("a chart without places")
	}
}
