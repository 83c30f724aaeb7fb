// Package metrics owns what mtor tells a Prometheus server: the registry, the
// metrics of both roles by their names, and the HTTP handler of the admin
// address (/metrics, /healthz, /readyz, and pprof where it is asked for).
//
// A role counts into a [Client] or a [Tracker] and gives it a function that
// reads its gauges; it need not know of Prometheus. No label holds the name of a
// torrent, a file or a client: what strangers can make grow is no label.
//
// The dashboards in dashboards/ and the rules in alerts/ show all of it, which
// the tests demand.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Build is what the program was made of.
type Build struct{ Version, Commit string }

// NewRegistry is a registry with what every process of mtor tells: its build,
// its Go runtime, and its process.
func NewRegistry(role string, b Build) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mtor_build_info",
		Help: "Always 1; its labels say which role runs, and what the program was made of.",
		ConstLabels: prometheus.Labels{
			"role": role, "version": b.Version, "commit": b.Commit, "go_version": runtime.Version(),
		},
	})
	build.Set(1)
	reg.MustRegister(build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// gauges are read together at each scrape.
type gauges struct {
	descs []*prometheus.Desc
	read  func(chan<- prometheus.Metric)
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range g.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) { g.read(ch) }

func (g *gauges) desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	g.descs = append(g.descs, d)
	return d
}

func constant(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// seconds are the buckets of a histogram from first on, each twice the last.
func seconds(first float64, n int) []float64 { return prometheus.ExponentialBuckets(first, 2, n) }
