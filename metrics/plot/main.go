// Command plot draws the panels of a dashboard from a Prometheus server's data
// as one SVG picture, for pages that cannot show Grafana:
//
//	go run ./metrics/plot -prometheus http://127.0.0.1:9090 -o overview.svg metrics/dashboards/overview.json
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answerTimeout bounds each question, maxAnswer the bytes of its answer.
const (
	answerTimeout = 30 * time.Second
	maxAnswer     = 16 << 20
)

type target struct{ Expr, LegendFormat string }

type panel struct {
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []target
}

type dashboard struct {
	Title  string
	Panels []panel
}

// line is one series of a panel.
type line struct {
	name string
	at   []float64 // Unix seconds
	v    []float64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run() error {
	server := flag.String("prometheus", "http://127.0.0.1:9090", "base URL of the server")
	since := flag.Duration("since", 10*time.Minute, "how far back")
	rate := flag.String("rate", "1m", "what stands for $__rate_interval")
	out := flag.String("o", "", "file to write; none is stdout")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("want one argument, the dashboard's file")
	}
	text, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		return err
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("%s: %w", flag.Arg(0), err)
	}
	end := time.Now()
	q := asker{base: *server, begin: end.Add(-*since), end: end, fill: strings.NewReplacer("$__rate_interval", *rate, "$instance", ".+")}
	shown := make([][]line, len(d.Panels))
	for i, p := range d.Panels {
		for _, t := range p.Targets {
			lines, err := q.ask(t)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Title, err)
			}
			shown[i] = append(shown[i], lines...)
		}
	}
	picture := draw(d, shown, q.begin, q.end)
	if *out == "" {
		_, err = os.Stdout.WriteString(picture)
		return err
	}
	return os.WriteFile(*out, []byte(picture), 0o644) //nolint:gosec // a picture for a page
}

// asker asks a server about one spell of time.
type asker struct {
	base       string
	begin, end time.Time
	fill       *strings.Replacer
}

func (a asker) ask(t target) ([]line, error) {
	q := url.Values{
		"query": {a.fill.Replace(t.Expr)}, "step": {strconv.FormatFloat(step(a.begin, a.end), 'f', 3, 64)},
		"start": {unix(a.begin)}, "end": {unix(a.end)},
	}
	client := http.Client{Timeout: answerTimeout}
	r, err := client.Get(a.base + "/api/v1/query_range?" + q.Encode()) //nolint:noctx // the client's timeout bounds it
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", t.Expr, answer.Error)
	}
	var lines []line
	for _, s := range answer.Data.Result {
		l := line{name: legend(t.LegendFormat, s.Metric)}
		for _, v := range s.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if n, err := strconv.ParseFloat(text, 64); err == nil && n-n == 0 { // neither NaN nor infinite
				l.at, l.v = append(l.at, at), append(l.v, n)
			}
		}
		if len(l.v) > 0 {
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return lines, nil
}

// unix is a moment as the server takes it.
func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// step is the seconds between two points of a line.
func step(begin, end time.Time) float64 { return max(end.Sub(begin).Seconds()/300, 0.25) }

var label = regexp.MustCompile(`{{ ?(\w+) ?}}`)

func legend(format string, labels map[string]string) string {
	return label.ReplaceAllStringFunc(format, func(s string) string { return labels[strings.Trim(s, "{} ")] })
}
