package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is the part of Grafana's classic dashboard model that ours rely on:
// https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
type dashboard struct {
	UID           string
	Title         string
	Description   string
	Tags          []string
	SchemaVersion int
	Time          struct{ From, To string }
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource source
		}
	}
	Panels []struct {
		ID          int
		Type        string
		Title       string
		Description string
		Datasource  source
		GridPos     struct{ H, W, X, Y int }
		FieldConfig struct {
			Defaults struct {
				Unit       string
				Thresholds *struct {
					Mode  string
					Steps []struct {
						Color string
						Value *float64
					}
				}
			}
			Overrides []any
		}
		Targets []struct {
			RefID      string
			Expr       string
			Datasource source
			// LegendFormat names labels as {{label}}.
			LegendFormat   string
			Range, Instant bool
		}
	}
}

type source struct{ Type, UID string }

// ours is the data source that a dashboard's user has chosen.
var ours = source{"prometheus", "${datasource}"}

// units are the IDs of the units that the panels use, as Grafana's
// packages/grafana-data/src/valueFormats/categories.ts has them.
var units = []string{"short", "percentunit", "bytes", "Bps", "s", "ops", "reqps"}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]dashboard{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[filepath.Base(f)] = d
	}
	return all
}

func TestDashboardsAreThoseThatThePagesName(t *testing.T) {
	want := map[string][2]string{
		"overview.json": {"mtor-overview", "mtor overview"},
		"client.json":   {"mtor-client", "mtor client"},
		"trackers.json": {"mtor-trackers", "mtor tracker pair"},
		"quic-tcp.json": {"mtor-quic-tcp", "QUIC vs TCP"},
	}
	got := dashboards(t)
	for file, w := range want {
		if d := got[file]; d.UID != w[0] || d.Title != w[1] {
			t.Errorf("%s is %q, %q", file, d.UID, d.Title)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d dashboards: want %d", len(got), len(want))
	}
}

func TestDashboardsHaveWhatGrafanaAsksFor(t *testing.T) {
	for file, d := range dashboards(t) {
		if d.Description == "" || d.SchemaVersion < 39 || len(d.UID) > 40 || d.Time.From == "" || !slices.Contains(d.Tags, "mtor") {
			t.Errorf("%s: description, schema version, uid, time or tag", file)
		}
		if v := d.Templating.List; len(v) != 2 || v[0].Name != "datasource" || v[0].Type != "datasource" || v[0].Query != "prometheus" ||
			v[1].Name != "instance" || v[1].Type != "query" || v[1].Datasource != ours {
			t.Errorf("%s: the variables are %+v", file, v)
		}
		ids := map[int]bool{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.ID == 0 || p.Title == "" || p.Description == "" || p.Datasource != ours || p.Type != "timeseries" && p.Type != "stat" {
				t.Errorf("%s, %q: id, title, description, data source or type", file, p.Title)
			}
			ids[p.ID] = true
			if !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
				t.Errorf("%s, %q: the unit %q", file, p.Title, p.FieldConfig.Defaults.Unit)
			}
			// Without its own, Grafana shows every number from 80 on in red.
			if th := p.FieldConfig.Defaults.Thresholds; p.Type == "stat" &&
				(th == nil || th.Mode != "absolute" || len(th.Steps) == 0 || th.Steps[0].Value != nil) {
				t.Errorf("%s, %q: the thresholds %+v", file, p.Title, th)
			}
			if p.FieldConfig.Overrides == nil {
				t.Errorf("%s, %q: no overrides", file, p.Title)
			}
			g := p.GridPos
			if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
				t.Errorf("%s, %q: outside of the 24 columns", file, p.Title)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %q covers %q", file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s, %q: shows nothing", file, p.Title)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if refs[q.RefID] || q.RefID == "" || q.Expr == "" || q.LegendFormat == "" || q.Datasource != ours || q.Range == q.Instant {
					t.Errorf("%s, %q: the query %+v", file, p.Title, q)
				}
				refs[q.RefID] = true
				if !strings.Contains(q.Expr, `instance=~"$instance"`) {
					t.Errorf("%s, %q: %s does not heed the chosen instance", file, p.Title, q.Expr)
				}
			}
		}
	}
}

// unshown are the metrics on no panel, by prefix, and why.
var unshown = map[string]string{
	"go_":       "for who looks into one process; Grafana has dashboards for them",
	"process_":  "the same; the CPU time alone is on QUIC vs TCP",
	"promhttp_": "errors of the scrape itself, which Prometheus tells by up",
}

var named = regexp.MustCompile(`\bmtor_[a-z_]+`)

func TestEveryMetricIsOnAPanelAndEveryPanelsMetricExists(t *testing.T) {
	registered := map[string]bool{}
	for _, reg := range everything() {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			registered[f.GetName()] = true
		}
	}
	shown := map[string]string{}
	note := func(where, expr string) {
		for _, name := range named.FindAllString(expr, -1) {
			shown[strings.TrimSuffix(name, "_bucket")] = where
		}
	}
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				note(file+", "+p.Title, q.Expr)
			}
		}
	}
	for name := range registered {
		excused := slices.ContainsFunc([]string{"go_", "process_", "promhttp_"}, func(prefix string) bool {
			return strings.HasPrefix(name, prefix) && unshown[prefix] != ""
		})
		if shown[name] == "" && !excused {
			t.Errorf("%s is on no panel", name)
		}
	}
	rules, err := os.ReadFile("alerts/mtor.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(string(rules), -1) {
		note("alerts", line[1])
	}
	for name, where := range shown {
		if !registered[name] {
			t.Errorf("%s shows %s, which there is not", where, name)
		}
	}
}

func TestAlertRulesFireWhenTheyShouldAndNotOtherwise(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	for _, args := range [][]string{{"check", "rules", "mtor.rules.yml"}, {"test", "rules", "mtor.test.yml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "alerts"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

func TestMetricsAreNamedAsPrometheusAsksFor(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	for i, role := range []string{"mtor_client_", "mtor_tracker_"} {
		_, get := serve(t, everything()[i], "127.0.0.1:0", false)
		_, text := get("/metrics")
		if !strings.Contains(text, "\n# HELP "+role) {
			t.Fatalf("no %s... in\n%s", role, text)
		}
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics, %s...: %v\n%s", role, err, out)
		}
	}
}
