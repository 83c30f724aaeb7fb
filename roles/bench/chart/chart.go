// Package chart draws measured values as an SVG 1.1 picture: lines over a few
// named places, with a bar from the least to the largest value at each point.
// It knows nothing of what was measured.
package chart

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// Chart is one pair of axes.
type Chart struct {
	Title string
	X, Y  string   // what the axes show, with units
	Ticks []string // the places on the X axis, from left to right
	Lines []Line
}

// Line is one series. Dashed is for limits that others are held against.
type Line struct {
	Name   string
	Dashed bool
	Points []Point
}

// Point is a value at the place Ticks[At], 0 or more; Low and High are the
// least and the largest that were measured, both 0 if there was but one.
type Point struct {
	At           int
	Y, Low, High float64
}

// The picture, in pixels: charts stand below each other.
const (
	width      = 760
	height     = 340
	left       = 70
	right      = 190 // the names
	top        = 46
	bottom     = 58
	plotWidth  = width - left - right
	plotHeight = height - top - bottom
	nameStep   = 18 // between two names
)

// colors are told apart by most eyes (after Okabe and Ito); lines beyond them
// begin anew.
var colors = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000"}

// SVG writes charts as one picture. A value that is no finite number of 0 or
// more, or a place without a tick, is an error, and nothing is written.
func SVG(w io.Writer, charts ...Chart) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12" fill="#222">`+"\n",
		width, height*len(charts))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height*len(charts))
	for i, c := range charts {
		if err := c.check(); err != nil {
			return fmt.Errorf("chart %q: %w", c.Title, err)
		}
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*height)
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Chart) check() error {
	if len(c.Ticks) == 0 {
		return fmt.Errorf("no ticks")
	}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			for _, v := range []float64{p.Y, p.Low, p.High} {
				if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
					return fmt.Errorf("line %q: cannot draw %v", l.Name, v)
				}
			}
			if p.At < 0 || p.At >= len(c.Ticks) {
				return fmt.Errorf("line %q: place %d of %d", l.Name, p.At, len(c.Ticks))
			}
		}
	}
	return nil
}

func (c *Chart) draw(b *strings.Builder) {
	text(b, left, 22, "start", ` font-size="15" font-weight="bold"`, c.Title)
	step, most := scale(c.most())
	for v := 0.0; v <= most*1.0001; v += step {
		y := c.y(v, most)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", left, y, left+plotWidth, y)
		text(b, left-8, y+4, "end", "", strconv.FormatFloat(v, 'g', 6, 64))
	}
	for i, t := range c.Ticks {
		text(b, c.x(i), top+plotHeight+18, "middle", "", t)
	}
	text(b, left+plotWidth/2, height-14, "middle", "", c.X)
	fmt.Fprintf(b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+plotHeight/2, html.EscapeString(c.Y))
	for i, l := range c.Lines {
		c.line(b, l, colors[i%len(colors)], most)
		y := float64(top + 8 + i*nameStep)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-width="2"%s/>`+"\n",
			left+plotWidth+14, y, left+plotWidth+38, y, colors[i%len(colors)], dashes(l))
		text(b, left+plotWidth+44, y+4, "start", "", l.Name)
	}
}

func (c *Chart) line(b *strings.Builder, l Line, color string, most float64) {
	if len(l.Points) == 0 {
		return
	}
	var path []string
	for _, p := range l.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", c.x(p.At), c.y(p.Y, most)))
	}
	if p := l.Points[0]; l.Dashed && len(l.Points) == 1 { // a line from it to it would not be seen
		const half = 20
		path = []string{
			fmt.Sprintf("%.1f,%.1f", c.x(p.At)-half, c.y(p.Y, most)),
			fmt.Sprintf("%.1f,%.1f", c.x(p.At)+half, c.y(p.Y, most)),
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(path, " "), color, dashes(l))
	if l.Dashed {
		return
	}
	for _, p := range l.Points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", c.x(p.At), c.y(p.Y, most), color)
		if p.High > p.Low {
			fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1[1]f" y2="%.1[3]f" stroke="%[4]s"/>`+"\n", c.x(p.At), c.y(p.Low, most), c.y(p.High, most), color)
		}
	}
}

func dashes(l Line) string {
	if l.Dashed {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

// x is where a place stands: each has an equal part of the axis.
func (c *Chart) x(at int) float64 {
	return left + plotWidth*(float64(at)+0.5)/float64(len(c.Ticks))
}

func (c *Chart) y(v, most float64) float64 { return top + plotHeight*(1-v/most) }

func (c *Chart) most() (most float64) {
	for _, l := range c.Lines {
		for _, p := range l.Points {
			most = max(most, p.Y, p.High)
		}
	}
	return most
}

// scale is a step of 1, 2 or 5 times a power of ten that divides an axis up to
// most into 4 to 10, and where the axis ends.
func scale(most float64) (step, end float64) {
	if most <= 0 {
		return 0.25, 1
	}
	step = math.Pow(10, math.Floor(math.Log10(most)))
	switch n := most / step; {
	case n < 2:
		step /= 5
	case n < 4:
		step /= 2
	}
	return step, step * math.Ceil(most/step)
}

func text(b *strings.Builder, x, y float64, anchor, more, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, html.EscapeString(s))
}
