package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// scrapeEvery is short, so that a short test has enough samples; rateOver is
// what Grafana would put for $__rate_interval then.
const (
	scrapeEvery = "500ms"
	rateOver    = "5s"
)

// prom is a running Prometheus server.
type prom struct {
	s     *swarm
	url   string
	begun time.Time
}

// series is one answer of a range query.
type series struct {
	Metric map[string]string
	Values [][2]any // unix time, number as text
}

// finite reports whether any value is a number.
func (x series) finite() bool {
	for _, v := range x.Values {
		text, _ := v[1].(string)
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return true
		}
	}
	return false
}

// prometheus starts a server with the jobs of deploy/prometheus.yml, whose
// targets are those of this swarm.
func (s *swarm) prometheus(targets map[string][]string) *prom {
	s.Helper()
	exe, err := exec.LookPath("prometheus")
	if err != nil {
		s.Skip("prometheus is not installed")
	}
	text, err := os.ReadFile("../deploy/prometheus.yml")
	if err != nil {
		s.Fatal(err)
	}
	var conf map[string]any
	if err := yaml.Unmarshal(text, &conf); err != nil {
		s.Fatal(err)
	}
	rules, err := filepath.Abs("../metrics/alerts/mtor.rules.yml")
	if err != nil {
		s.Fatal(err)
	}
	conf["rule_files"] = []string{rules}
	conf["global"] = map[string]any{"scrape_interval": scrapeEvery, "evaluation_interval": scrapeEvery}
	jobs, _ := conf["scrape_configs"].([]any)
	if len(jobs) != len(targets) {
		s.Fatalf("%d jobs in deploy/prometheus.yml: want %d", len(jobs), len(targets))
	}
	for _, j := range jobs {
		job := j.(map[string]any)
		name, _ := job["job_name"].(string)
		if len(targets[name]) == 0 {
			s.Fatalf("deploy/prometheus.yml has the job %s", name)
		}
		job["static_configs"] = []any{map[string]any{"targets": targets[name]}}
	}
	if text, err = yaml.Marshal(conf); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(s.path("prometheus.yml"), text, 0o600); err != nil {
		s.Fatal(err)
	}
	addr := s.reserve(s.ip(200))
	s.start(process.Spec{Name: "prometheus", Exe: exe, Dir: s.dir, Args: []string{
		"--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", "--web.listen-address=" + addr,
	}})
	return &prom{s: s, url: "http://" + addr, begun: time.Now()}
}

// query answers an expression over the time since a moment; false if it cannot be
// asked yet.
func (p *prom) query(since time.Time, expr string) ([]series, bool) {
	p.s.Helper()
	q := url.Values{
		"query": {expr}, "start": {fmt.Sprint(since.Unix())}, "end": {fmt.Sprint(time.Now().Unix())}, "step": {"1"},
	}
	req, err := http.NewRequestWithContext(p.s.ctx, http.MethodGet, p.url+"/api/v1/query_range?"+q.Encode(), http.NoBody)
	if err != nil {
		p.s.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false // it starts
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusServiceUnavailable {
		return nil, false
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.s.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	return answer.Data.Result, true
}

// get is what an HTTP server answers.
func (s *swarm) get(url string) string {
	s.Helper()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		s.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// await waits until an expression has answered for n series, at any time since
// it was waited for.
func (p *prom) await(expr string, n int) {
	p.s.Helper()
	since := time.Now()
	tick := time.NewTicker(250 * time.Millisecond) // a server that is asked has no event
	defer tick.Stop()
	for {
		got, ok := p.query(since, expr)
		if ok && len(got) >= n {
			return
		}
		select {
		case <-tick.C:
		case <-p.s.ctx.Done():
			p.s.Fatalf("%s: %d series: want %d", expr, len(got), n)
		}
	}
}

// legend are the labels that a text names: {{label}}, or $labels.label.
var legend = regexp.MustCompile(`{{ ?(\w+) ?}}|\$labels\.(\w+)`)

// answers checks that an expression has data, with the labels that text names.
func (p *prom) answers(where, expr, text string) {
	p.s.Helper()
	got, ok := p.query(p.begun, expr)
	any := false
	for _, x := range got {
		any = any || x.finite()
		for _, m := range legend.FindAllStringSubmatch(text, -1) {
			if label := m[1] + m[2]; x.Metric[label] == "" {
				p.s.Errorf("%s: %s: no label %s in %v", where, expr, label, x.Metric)
			}
		}
	}
	if !ok || !any {
		p.s.Errorf("%s: %s: no data (%d series)", where, expr, len(got))
	}
}

// threshold is what makes an expression an alert.
var threshold = regexp.MustCompile(` (==|<|>) [0-9.e]+`)

func TestEveryPanelAndAlertHasDataOfARealSwarm(t *testing.T) {
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("prometheus is not installed")
	}
	heavy(t)
	s := newSwarm(t, false, false)
	targets := map[string][]string{}
	shown := func(job string, n int) string {
		addr := s.reserve(s.ip(n))
		targets[job] = append(targets[job], addr)
		return addr
	}
	for i, tr := range s.trackers {
		tr.args = append(tr.args, "--metrics", shown("mtor-tracker", i+1))
		tr.start()
	}
	a := s.client(11, "a", "--metrics", shown("mtor-client", 11), "--upload-limit", "8MB")
	b := s.client(12, "b", "--metrics", shown("mtor-client", 12), "--transport", "tcp")
	c := s.client(13, "c", "--metrics", shown("mtor-client", 13), "--transport", "quic")
	d := s.client(14, "d", "--metrics", shown("mtor-client", 14), "--transport", "tls")
	p := s.prometheus(targets)
	p.await("up == 1", 6)

	s.write("one", 24<<20, 1)
	a.do("share one one.mtorrent")
	b.do("get one.mtorrent b-one")
	c.do("get one.mtorrent c-one")
	d.do("get one.mtorrent d-one")
	p.await("mtor_client_wanted_bytes > 0", 3)
	b.do("wait")
	c.do("wait")
	d.do("wait")
	for _, way := range []string{"received", "sent"} {
		p.await("sum by (transport) (mtor_client_piece_"+way+"_bytes_total) > 0", 3)
	}
	s.trackers[1].Kill()
	p.await("up == 0", 1)
	p.await("mtor_tracker_sync_connected == 0", 1)
	s.write("two", 1<<20, 2)
	a.do("share two two.mtorrent")
	p.await("mtor_tracker_sync_behind_rows > 0", 1)
	s.trackers[1].start()
	p.await(`mtor_tracker_caught_up_rows_total{instance="`+targets["mtor-tracker"][1]+`"} > 0`, 1)
	p.await("mtor_tracker_sync_connected == 1 and mtor_tracker_sync_oldest_unacked_seconds == 0", 2)

	files, err := filepath.Glob("../metrics/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	fill := strings.NewReplacer("$__rate_interval", rateOver, "$instance", ".+")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				p.answers(filepath.Base(f)+", "+panel.Title, fill.Replace(q.Expr), q.LegendFormat)
			}
		}
	}
	text, err := os.ReadFile("../metrics/alerts/mtor.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		said := r.Annotations["summary"] + r.Annotations["description"]
		p.answers(r.Alert+", without its threshold", threshold.ReplaceAllString(r.Expr, ""), said)
		if r.Alert == "MtorTargetDown" || r.Alert == "MtorTrackersOutOfSync" {
			p.answers(r.Alert, r.Expr, said)
		}
	}
	if out := os.Getenv("MTOR_PLOT"); out != "" {
		cmd := exec.CommandContext(s.ctx, "go", "run", "../metrics/plot", "-prometheus", p.url, "-rate", rateOver,
			"-since", time.Since(p.begun).Round(time.Second).String(), "-o", out, "../metrics/dashboards/overview.json")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", cmd.Args, err, text)
		}
	}
}
