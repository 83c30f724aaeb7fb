// Package admin is how a running tracker is asked about itself: HTTP with JSON
// on a loopback address.
//
//	GET    /                 a page to look at, if there is one
//	GET    /status           a [Status]
//	DELETE /trackers/{node}  forgets a tracker that will not return
//
// Nobody proves who he is, so only this machine may reach it, and a web page
// in a browser on it may not: the Host must be a loopback address or
// "localhost" (against names that are made to resolve to it), and what changes
// something is a DELETE, which no page may send elsewhere unasked.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Status is a tracker at one moment.
type Status struct {
	Node     string `json:"node"`    // its ID, hex
	Addr     string `json:"address"` // where it listens
	Torrents int    `json:"torrents"`
	Seeders  int    `json:"seeders"`  // rows that are listed
	Sessions int    `json:"sessions"` // accepted, of clients and trackers
	// Repaired is how many rows were taken from other trackers, since the start,
	// because the lists differed although nothing was missing by the books.
	Repaired uint64    `json:"repaired_rows"`
	Trackers []Tracker `json:"trackers"` // the others
}

// Tracker is another tracker as one tracker sees it.
type Tracker struct {
	Node string `json:"node,omitempty"`    // empty until it was reached once
	Addr string `json:"address,omitempty"` // as configured; empty for one that is not
	// Connected: this tracker pulls from it. Following: it pulls from this one.
	Connected bool `json:"connected"`
	Following bool `json:"following"`
	// LastContact is when a byte came from it, nil if never.
	LastContact *time.Time `json:"last_contact,omitempty"`
	// RowsBehind is how many changes that this tracker holds it has not
	// acknowledged, nil if that is not known.
	RowsBehind *uint64 `json:"rows_behind,omitempty"`
	// Lag is how long the last change took from here to its disk, or how long
	// the oldest that it has not acknowledged waits, whichever is more, in
	// seconds; nil if that is not known.
	Lag *float64 `json:"lag_seconds,omitempty"`
}

// ErrUnknown is the answer to Forget of a tracker that this one does not know.
var ErrUnknown = errors.New("no tracker of that ID is known here")

// Source is the tracker that is asked.
type Source interface {
	Status() Status
	// Forget stops waiting for a tracker. The error wraps ErrUnknown if there
	// is none of that ID.
	Forget(ctx context.Context, node string) error
}

const (
	// askTimeout bounds one question, on both sides.
	askTimeout = 10 * time.Second
	// maxAnswer bounds an answer that a client reads, in bytes: some hundred
	// trackers.
	maxAnswer = 1 << 20
	// maxHeader bounds the header of a question, in bytes.
	maxHeader = 8 << 10
)

// Serve answers on l until ctx ends, then closes it. page has what is not asked
// for here; nil for none.
func Serve(ctx context.Context, l net.Listener, src Source, page http.Handler) error {
	s := &http.Server{
		Handler:        handler(src, page),
		ReadTimeout:    askTimeout,
		WriteTimeout:   askTimeout,
		IdleTimeout:    askTimeout,
		MaxHeaderBytes: maxHeader,
		BaseContext:    func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin address %v: %w", l.Addr(), err)
	}
	return nil
}

func handler(src Source, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	if page != nil {
		mux.Handle("/", page)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, src.Status())
	})
	mux.HandleFunc("DELETE /trackers/{node}", func(w http.ResponseWriter, r *http.Request) {
		switch err := src.Forget(r.Context(), r.PathValue("node")); {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, ErrUnknown):
			answer(w, http.StatusNotFound, refusal{err.Error()})
		default:
			answer(w, http.StatusConflict, refusal{err.Error()})
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local(r.Host) {
			answer(w, http.StatusForbidden, refusal{"ask for a loopback address"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// local reports whether a Host header names this machine by itself.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

type refusal struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who asked has gone
}

// Ask gets the status of the tracker at an admin address, "ip:port".
func Ask(ctx context.Context, addr string) (Status, error) {
	var s Status
	body, err := do(ctx, http.MethodGet, addr, "status")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		return Status{}, fmt.Errorf("ask tracker at %s: %w", addr, err)
	}
	return s, nil
}

// Forget makes the tracker at an admin address forget another one, by its ID.
func Forget(ctx context.Context, addr, node string) error {
	if _, err := do(ctx, http.MethodDelete, addr, "trackers", url.PathEscape(node)); err != nil {
		return fmt.Errorf("forget tracker %s at %s: %w", node, addr, err)
	}
	return nil
}

func do(ctx context.Context, method, addr string, path ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	u := (&url.URL{Scheme: "http", Host: addr, Path: "/"}).JoinPath(path...)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	// No proxy of the environment: the address is of this machine.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer in %v: is it stopped, or very busy?", askTimeout)
	}
	if err != nil {
		return nil, errors.Unwrap(err) // without the method and URL
	}
	defer func() { _ = resp.Body.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return body, nil
	}
	var r refusal
	if json.Unmarshal(body, &r) != nil || r.Error == "" {
		return nil, fmt.Errorf("it is no tracker's admin address: it answers %s", resp.Status)
	}
	return nil, errors.New(r.Error)
}
