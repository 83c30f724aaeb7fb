package page

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Funcs are what a template writes quantities and names with.
//
//	bytes N     1.5 GiB
//	rate N      12 MiB/s, or – for nothing
//	percent D N 41, rounded down: 100 is said of the whole alone
//	for D       4 min 10 s
//	many N "peer"
//	seen TEXT   text of strangers, with what hides or turns it written out
func Funcs() template.FuncMap {
	return template.FuncMap{
		"bytes": func(n any) string { return humanize.IBytes(uint64(max(number(n), 0))) },
		"rate": func(n any) string {
			if number(n) < 1 {
				return "–"
			}
			return humanize.IBytes(uint64(number(n))) + "/s"
		},
		"percent": func(done, of int64) int64 {
			if of <= 0 {
				return 100
			}
			return done * 100 / of // a size is at most 2^53
		},
		"for":  Span,
		"many": Many,
		"seen": Seen,
	}
}

func number(n any) float64 {
	switch n := n.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	case uint64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

// Many is a number of things: "1 peer", "2,000 peers".
func Many(n any, thing string) string {
	if number(n) != 1 {
		thing += "s"
	}
	return humanize.Comma(int64(number(n))) + " " + thing
}

// Span is a duration to two units: "4 min 10 s".
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	units := []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.of, u.name)
		if i+1 < len(units) && d%u.of/units[i+1].of > 0 {
			text += fmt.Sprintf(" %d %s", d%u.of/units[i+1].of, units[i+1].name)
		}
		return text
	}
	return "0 s"
}

// Seen is text in which every character can be seen: what no reader sees, or what
// turns the direction of writing, is written as Go escapes it.
func Seen(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			q := strconv.Quote(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
