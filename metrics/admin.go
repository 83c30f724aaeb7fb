package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

const (
	// maxConns bounds the connections to the admin address: one Prometheus
	// needs one, a person with a browser a few.
	maxConns = 32
	// maxScrapes bounds the scrapes under way.
	maxScrapes = 4
	// readTimeout bounds a request, idleTimeout the silence between two;
	// writeTimeout an answer, which for a CPU profile takes as long as was
	// asked for (30 s unless told otherwise).
	readTimeout  = 5 * time.Second
	idleTimeout  = 2 * time.Minute
	writeTimeout = 2 * time.Minute
	// stopTimeout bounds the wait for answers under way at the end.
	stopTimeout = time.Second
)

// Admin is the HTTP server of the admin address.
type Admin struct {
	listener net.Listener
	server   *http.Server
	state    atomic.Pointer[func() Health]
	page     atomic.Pointer[http.Handler]
}

// Health is how a role is.
type Health struct {
	// Unready says why the role cannot serve; empty if it can.
	Unready []string
	// Degraded says what is amiss although it can.
	Degraded []string
}

// Listen binds an address, "host:port"; without a host it is 127.0.0.1. The
// role counts as starting until Ready is called. Serve must follow.
func Listen(ctx context.Context, addr string, reg *prometheus.Registry, withPprof bool) (*Admin, error) {
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	network := "tcp"
	if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Is4() {
		network = "tcp4" // else 0.0.0.0 is all addresses of IPv6, too
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("metrics address: %w", err)
	}
	a := &Admin{listener: netutil.LimitListener(l, maxConns)}
	a.Starting()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Registry: reg,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("/", a.show)
	if withPprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	a.server = &http.Server{
		Handler: mux, ReadTimeout: readTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout,
		MaxHeaderBytes: 64 << 10,
	}
	return a, nil
}

// Addr is the bound address.
func (a *Admin) Addr() net.Addr { return a.listener.Addr() }

// Show puts a page at "/" and whatever else is not taken; until then "/"
// answers 503. The page has to look itself at who asks.
func (a *Admin) Show(page http.Handler) { a.page.Store(&page) }

func (a *Admin) show(w http.ResponseWriter, r *http.Request) {
	if page := a.page.Load(); page != nil {
		(*page).ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/" {
		text(w, http.StatusServiceUnavailable, "starting\n")
		return
	}
	http.NotFound(w, r)
}

// Starting says that the role does not serve yet.
func (a *Admin) Starting() { a.set(func() Health { return Health{Unready: []string{"starting"}} }) }

// Stopping says that the role serves no longer.
func (a *Admin) Stopping() { a.set(func() Health { return Health{Unready: []string{"stopping"}} }) }

// Ready says that the role's store is loaded and its listeners are up; how tells
// at each question how it is from then on.
func (a *Admin) Ready(how func() Health) { a.set(how) }

func (a *Admin) set(f func() Health) { a.state.Store(&f) }

// ready answers 200 with "ready", or "degraded" and a line for each thing that
// is amiss; 503 with "not ready" and why.
func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	switch h := (*a.state.Load())(); {
	case len(h.Unready) > 0:
		text(w, http.StatusServiceUnavailable, lines("not ready", h.Unready))
	case len(h.Degraded) > 0:
		text(w, http.StatusOK, lines("degraded", h.Degraded))
	default:
		text(w, http.StatusOK, "ready\n")
	}
}

func lines(head string, list []string) string {
	return head + "\n" + strings.Join(list, "\n") + "\n"
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, s) // the asker may be gone
}

// Serve answers until ctx ends.
func (a *Admin) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		wait, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if a.server.Shutdown(wait) != nil {
			_ = a.server.Close()
		}
	})
	err := a.server.Serve(a.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("metrics address: %w", err)
}
