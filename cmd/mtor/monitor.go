package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/mtor-dev/mtor/metrics"
)

// addMetricsFlags are what both roles have to be watched by.
func addMetricsFlags(flags *pflag.FlagSet) {
	flags.String("metrics", "", "host:port to show metrics and health on (/metrics, /healthz, /readyz); :port is on 127.0.0.1")
	flags.Bool("metrics-pprof", false, "show Go's profiles on the --metrics address too, which must be a loopback address")
}

// monitor shows a role's metrics and health. One that is off does nothing.
type monitor struct {
	*prometheus.Registry // nil: off
	admin                *metrics.Admin
	stop                 context.CancelFunc
	ended                chan struct{}
}

// startMonitor shows a role as one that starts, on addr unless it is empty, and
// says on out where. close must follow.
func startMonitor(role, addr string, pprof bool, out io.Writer, log *slog.Logger) (*monitor, error) {
	m := &monitor{}
	if addr == "" {
		return m, nil
	}
	info, _ := debug.ReadBuildInfo()
	v, c := buildOf(info)
	reg := metrics.NewRegistry(role, metrics.Build{Version: v, Commit: c})
	ctx, cancel := context.WithCancel(context.Background())
	admin, err := metrics.Listen(ctx, addr, reg, pprof)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: --metrics: %w", role, err)
	}
	m.Registry, m.admin, m.stop, m.ended = reg, admin, cancel, make(chan struct{})
	go func() {
		defer close(m.ended)
		if err := admin.Serve(ctx); err != nil {
			log.Error("metrics are shown no longer", "error", err)
		}
	}()
	_, _ = fmt.Fprintf(out, "metrics on %s\n", admin.Addr())
	return m, nil
}

// on reports whether anybody may look.
func (m *monitor) on() bool { return m.Registry != nil }

// ready shows the role as one that serves, until ctx ends.
func (m *monitor) ready(ctx context.Context, how func() metrics.Health) {
	if !m.on() {
		return
	}
	m.admin.Ready(func() metrics.Health {
		if ctx.Err() != nil {
			return metrics.Health{Unready: []string{"stopping"}}
		}
		return how()
	})
}

func (m *monitor) close() {
	if m.on() {
		m.stop()
		<-m.ended
	}
}
