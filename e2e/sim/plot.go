package sim

import (
	"bytes"
	"fmt"
	"math"
)

// plot draws what came out of swarms of several sizes.
type plot struct{ points []point }

type point struct {
	clients int
	Result
}

func (p *plot) add(clients int, r Result) { p.points = append(p.points, point{clients, r}) }

// Where the picture's parts are, in its own units.
const (
	plotWidth, plotHeight = 640, 320
	plotLeft, plotBottom  = 60, 270
	plotRight, plotTop    = 610, 40
	plotLow, plotHigh     = 0.9, 1.6 // the ratios at the bottom and at the top
)

// svg is the picture: the time of the last client as a multiple of the ideal,
// and what the seeder sent as a multiple of the file, over the number of clients.
func (p *plot) svg() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	for v := 10; v <= 15; v++ {
		y := plotY(float64(v) / 10)
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.0f" y2="%.0f" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%.1f</text>`+"\n",
			plotLeft, plotRight, y, y, plotLeft-8, y+4, float64(v)/10)
	}
	p.line(&b, 5, "#06c", func(r Result) float64 { return r.Ratio() })
	p.line(&b, 2, "#c40", func(r Result) float64 { return r.Sent })
	for _, pt := range p.points {
		fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%d</text>`+"\n", p.x(pt.clients), plotBottom+18, pt.clients)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">clients that start at one moment</text>`+"\n", plotWidth/2, plotBottom+38)
	fmt.Fprintf(&b, `<text x="%d" y="20" fill="#06c">last client whole, x ideal time</text>`+"\n", plotLeft)
	fmt.Fprintf(&b, `<text x="%d" y="20" fill="#c40">seeder sent, x file</text>`+"\n", plotWidth/2)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p *plot) line(b *bytes.Buffer, width int, colour string, of func(Result) float64) {
	fmt.Fprintf(b, `<polyline fill="none" stroke-width="%d" stroke="%s" points="`, width, colour)
	for _, pt := range p.points {
		fmt.Fprintf(b, "%.1f,%.1f ", p.x(pt.clients), plotY(of(pt.Result)))
	}
	b.WriteString("\"/>\n")
}

// x puts the numbers of clients at distances that follow their logarithms.
func (p *plot) x(clients int) float64 {
	first, last := p.points[0].clients, p.points[len(p.points)-1].clients
	part := 0.5
	if first < last {
		part = math.Log(float64(clients)/float64(first)) / math.Log(float64(last)/float64(first))
	}
	return plotLeft + 20 + part*(plotRight-plotLeft-40)
}

func plotY(v float64) float64 {
	return plotBottom - (v-plotLow)/(plotHigh-plotLow)*(plotBottom-plotTop)
}
