package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/mtor-dev/mtor/metrics"
	"github.com/mtor-dev/mtor/roles/page"
)

// addMetricsFlags are what both roles have to be watched by.
func addMetricsFlags(flags *pflag.FlagSet) {
	flags.String("metrics", "", "host:port to show metrics, health and a page on (/metrics, /healthz, /readyz, /); :port is on 127.0.0.1")
	flags.String("page-token-file", "", "file (mode 0600) with the token that the page asks for; without it one is drawn and printed where others reach the --metrics address")
	flags.Bool("metrics-pprof", false, "show Go's profiles on the --metrics address too, which must be a loopback address")
}

// monitor shows a role's metrics and health. One that is off does nothing.
type monitor struct {
	*prometheus.Registry // nil: off
	admin                *metrics.Admin
	token                string // that the page asks for; empty: it asks for none
	stop                 context.CancelFunc
	ended                chan struct{}
}

// startMonitor shows a role as one that starts, on addr unless it is empty, and
// says on out where. close must follow.
func startMonitor(role, addr, tokenFile string, pprof bool, out io.Writer, log *slog.Logger) (*monitor, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	m := &monitor{token: token}
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
	if m.token == "" && !page.Loopback(admin.Addr()) {
		m.token = page.NewToken()
		_, _ = fmt.Fprintf(out, "page on http://%s/ asks for the token %s\n", admin.Addr(), m.token)
	}
	return m, nil
}

// show puts a page on the address.
func (m *monitor) show(of func(at net.Addr, token string) http.Handler) {
	if m.on() {
		m.admin.Show(of(m.admin.Addr(), m.token))
	}
}

// maxTokenFile bounds what is read of a file with a token, in bytes.
const maxTokenFile = 1 << 10

// readToken reads the token that the page asks for; empty without a file.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	wrong := func(format string, args ...any) (string, error) {
		return "", usageError(fmt.Errorf("page_token_file: %q "+format, append([]any{path}, args...)...))
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return wrong("does not exist: make it, (umask 077; openssl rand -hex 16 > %s)", path)
	}
	if err != nil {
		return wrong("cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return wrong("can be read or written by others: chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return wrong("cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < page.MinToken || strings.ContainsAny(token, " \t\r\n") {
		return wrong("holds no token: want %d characters or more, without spaces (openssl rand -hex 16)", page.MinToken)
	}
	return token, nil
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
