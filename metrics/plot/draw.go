package main

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// The picture is a grid of 24 columns, as the dashboard's.
const (
	column = 40 // pixels
	row    = 30
	top    = 40 // for the title
	margin = 10
	head   = 32 // of a panel, for its title
	gutter = 64 // left of a plot, for the scale
	keys   = 6  // lines that a legend has room for
	key    = 13 // pixels of a line of the legend
)

// colours tell the lines of a panel apart, also for those who see no red or no
// green (the palette of Okabe and Ito).
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a00", "#444444"}

// draw makes the picture of what each panel shows.
func draw(d dashboard, shown [][]line, begin, end time.Time) string {
	width, height := 24*column+2*margin, 0
	for _, p := range d.Panels {
		height = max(height, top+(p.GridPos.Y+p.GridPos.H)*row+margin)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/><text x="%d" y="26" font-size="18" fill="#222222">%s</text>`+"\n", width, height, margin, html.EscapeString(d.Title))
	for i, p := range d.Panels {
		g := p.GridPos
		x, y := margin+g.X*column, top+g.Y*row
		w, h := g.W*column-6, g.H*row-6
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#fafafa" stroke="#cccccc"/><text x="%d" y="%d" font-size="13" fill="#222222">%s</text>`+"\n",
			x, y, w, h, x+8, y+17, html.EscapeString(p.Title))
		if p.Type == "stat" {
			stat(&b, p, shown[i], x, y, w, h)
		} else {
			plot(&b, p, shown[i], frame{
				x: float64(x + gutter), y: float64(y + head), w: float64(w - gutter - 10),
				h:     float64(h - head - 22 - key*min(len(shown[i]), keys)),
				begin: begin, end: end,
			})
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// stat writes the newest values.
func stat(b *strings.Builder, p panel, lines []line, x, y, w, h int) {
	var parts []string
	for _, l := range lines {
		text := number(l.v[len(l.v)-1], p.FieldConfig.Defaults.Unit)
		if len(lines) > 1 {
			text = l.name + " " + text
		}
		parts = append(parts, text)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="%d" fill="#0072b2" text-anchor="middle">%s</text>`+"\n",
		x+w/2, y+h/2+14, 24, html.EscapeString(strings.Join(parts, ", ")))
}

// frame is where a plot goes, and the spell that it shows.
type frame struct {
	x, y, w, h float64
	begin, end time.Time
}

func plot(b *strings.Builder, p panel, lines []line, f frame) {
	high := 0.0
	for _, l := range lines {
		for _, v := range l.v {
			high = max(high, v)
		}
	}
	if high == 0 {
		high = 1
	}
	for i := range 3 {
		y := f.y + f.h*float64(i)/2
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#dddddd"/><text x="%.1f" y="%.1f" fill="#666666" text-anchor="end">%s</text>`+"\n",
			f.x, y, f.x+f.w, y, f.x-5, y+4, number(high*float64(2-i)/2, p.FieldConfig.Defaults.Unit))
	}
	span := f.end.Sub(f.begin).Seconds()
	hole := 3 * step(f.begin, f.end)
	for i, l := range lines {
		colour := colours[i%len(colours)]
		var points strings.Builder
		for j, v := range l.v {
			at := (l.at[j] - float64(f.begin.UnixMilli())/1000) / span
			verb := " L"
			if j == 0 || l.at[j]-l.at[j-1] > hole { // a hole in the data is one in the line
				verb = " M"
			}
			fmt.Fprintf(&points, "%s%.1f %.1f", verb, f.x+at*f.w, f.y+f.h*(1-v/high))
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.TrimSpace(points.String()), colour)
		if i < keys {
			name := l.name
			if i == keys-1 && len(lines) > keys {
				name = fmt.Sprintf("and %d more", len(lines)-i)
			}
			y := f.y + f.h + 18 + float64(i*key)
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="10" height="3" fill="%s"/><text x="%.1f" y="%.1f" fill="#444444">%s</text>`+"\n",
				f.x, y-5, colour, f.x+15, y, html.EscapeString(name))
		}
	}
	if len(lines) == 0 {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#666666" text-anchor="middle">no data</text>`+"\n", f.x+f.w/2, f.y+f.h/2)
	}
}

// number writes a value in a unit of Grafana's.
func number(v float64, unit string) string {
	scaled := func(v float64, base float64, units ...string) string {
		i := 0
		for ; v >= base && i < len(units)-1; i++ {
			v /= base
		}
		return fmt.Sprintf("%.3g %s", v, units[i])
	}
	switch unit {
	case "bytes":
		return scaled(v, 1024, "B", "KiB", "MiB", "GiB", "TiB")
	case "Bps":
		return scaled(v, 1000, "B/s", "kB/s", "MB/s", "GB/s")
	case "s":
		if v > 0 && v < 1 {
			return fmt.Sprintf("%.3g ms", v*1000)
		}
		return fmt.Sprintf("%.3g s", v)
	case "percentunit":
		return fmt.Sprintf("%.3g %%", v*100)
	case "ops", "reqps":
		return fmt.Sprintf("%.3g/s", v)
	}
	return fmt.Sprintf("%.4g", v)
}
