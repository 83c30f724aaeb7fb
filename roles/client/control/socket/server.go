package socket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// Serve answers on l for the API until ctx ends, then closes it. Requests that
// are under way may end until partingTime is over, so that who has asked for a
// quit hears that it is done.
func Serve(ctx context.Context, l net.Listener, api control.API) error {
	var busy sync.WaitGroup
	h := handler(api)
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			busy.Add(1)
			defer busy.Done()
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
	}
	parted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(parted)
		parting, cancel := context.WithTimeout(context.Background(), partingTime)
		defer cancel()
		if s.Shutdown(parting) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if stop() { // it ended by itself
		s.Close()
	} else {
		<-parted
	}
	busy.Wait()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket %v: %w", l.Addr(), err)
	}
	return nil
}

func handler(api control.API) http.Handler {
	mux := http.NewServeMux()
	for _, e := range endpoints {
		mux.HandleFunc(e.method+" "+e.pattern, func(w http.ResponseWriter, r *http.Request) { e.serve(api, w, r) })
	}
	mux.HandleFunc("GET "+descriptionPattern, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(Description) // who asked has gone
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := mux.Handler(r); pattern == "" {
			n := &noRoute{header: w.Header()}
			h.ServeHTTP(n, r)
			n.header.Del("X-Content-Type-Options")
			write(w, n.status, &Refusal{fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, http.StatusText(n.status)), codeBadRequest})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute takes the mux's own answer, but for its text.
type noRoute struct {
	header http.Header
	status int
}

func (n *noRoute) Header() http.Header         { return n.header }
func (n *noRoute) WriteHeader(status int)      { n.status = status }
func (n *noRoute) Write(b []byte) (int, error) { return len(b), nil }

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked has gone
}

func refuse(w http.ResponseWriter, err error) {
	r := refusalOf(err)
	write(w, r.status(), r)
}

// decode reads the one JSON object of a request. A body that is missing is an
// empty object.
func decode(body io.Reader, into any) error {
	limited := io.LimitReader(body, maxRequest+1)
	d := json.NewDecoder(limited)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &kind):
		return badf("%s: %.40s, want %s", cmp.Or(kind.Field, "the body"), kind.Value, kindOf(kind.Type))
	case err != nil:
		return badf("the body is not what is wanted here: %v", err)
	case d.InputOffset() > maxRequest:
		return badf("the body has more than %d bytes", maxRequest)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badf("something follows the JSON object of the body")
	}
	return nil
}

// kindOf is what JSON calls the values of a type.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Float64:
		return "a number"
	case reflect.Int64:
		return "a whole number"
	}
	return "an object"
}

// stream writes events from one goroutine, the request's own, while do runs in
// another.
func stream(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, progress func(done, total int64)) (Event, error)) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var mu sync.Mutex
	far := Event{Event: working}
	over := make(chan Event, 1)
	go func() {
		last, err := do(ctx, func(done, total int64) {
			mu.Lock()
			defer mu.Unlock()
			far.Done, far.Total = done, total
		})
		last.Event = ended
		if err != nil {
			last.Event, last.Error = failed, refusalOf(err)
		}
		over <- last
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	told, said := Event{}, time.Now()
	for {
		select {
		case e := <-over:
			_ = flush.SetWriteDeadline(time.Now().Add(silence))
			_ = out.Encode(e) // who asked has gone
			return
		case now := <-tick.C:
			mu.Lock()
			e := far
			mu.Unlock()
			if e.Done == told.Done && now.Sub(said) < beat {
				continue
			}
			told, said = e, now
			_ = flush.SetWriteDeadline(now.Add(silence))
			if errors.Join(out.Encode(e), flush.Flush()) != nil {
				cancel() // who asked has gone; the answer to do is awaited
			}
		}
	}
}

// progressEvery is how often a stream tells how far it is.
const progressEvery = 200 * time.Millisecond
