package socket

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/units"
)

// descriptionPattern is where Description is.
const descriptionPattern = "/v1/openapi.yaml"

// endpoint is a row of what can be asked. {torrent} in a pattern is a torrent's
// ID, or another name of it that has no slash.
type endpoint struct {
	method, pattern string
	serve           func(control.API, http.ResponseWriter, *http.Request)
	// For the test of the description: zero values of the bodies, nil for none.
	asks, answers any
	streams       bool // answers is an event of many
}

// none is the body of a request or answer that has none.
type none struct{}

// endpoints are all but the description's.
var endpoints = []endpoint{
	plainly("GET", "/v1/status", func(ctx context.Context, api control.API, _ string, _ none) (control.Status, error) {
		return api.Status(ctx)
	}),
	plainly("GET", "/v1/torrents", func(ctx context.Context, api control.API, _ string, _ none) (torrentList, error) {
		list, err := api.Downloads(ctx)
		if list == nil {
			list = []control.Download{}
		}
		return torrentList{list}, err
	}),
	plainly("GET", "/v1/torrents/{torrent}", func(ctx context.Context, api control.API, name string, _ none) (control.Download, error) {
		list, err := api.Downloads(ctx)
		if err != nil {
			return control.Download{}, err
		}
		return control.Find(list, control.Download.Named, name)
	}),
	plainly("DELETE", "/v1/torrents/{torrent}", func(ctx context.Context, api control.API, name string, _ none) (control.Removed, error) {
		return api.Remove(ctx, name)
	}),
	plainly("GET", "/v1/torrents/{torrent}/peers", func(ctx context.Context, api control.API, name string, _ none) (peerList, error) {
		list, err := api.Peers(ctx, name)
		if list == nil {
			list = []control.Peer{}
		}
		return peerList{list}, err
	}),
	plainly("POST", "/v1/torrents/{torrent}/pause", func(ctx context.Context, api control.API, name string, _ none) (control.Download, error) {
		return api.Pause(ctx, name)
	}),
	plainly("PUT", "/v1/torrents/{torrent}/seed-until", func(ctx context.Context, api control.API, name string, q goalRequest) (control.Download, error) {
		return api.SeedUntil(ctx, name, control.SeedGoal(q))
	}),
	plainly("GET", "/v1/torrents/{torrent}/limits", func(ctx context.Context, api control.API, name string, _ none) (control.Limits, error) {
		return api.SetLimits(ctx, name, control.LimitChange{})
	}),
	plainly("PATCH", "/v1/torrents/{torrent}/limits", setLimits),
	plainly("GET", "/v1/limits", func(ctx context.Context, api control.API, _ string, _ none) (control.Limits, error) {
		return api.SetLimits(ctx, "", control.LimitChange{})
	}),
	plainly("PATCH", "/v1/limits", setLimits),
	plainly("POST", "/v1/quit", func(ctx context.Context, api control.API, _ string, _ none) (none, error) {
		return none{}, api.Quit(ctx)
	}),
	slowly("POST", "/v1/torrents/{torrent}/resume", func(ctx context.Context, api control.API, name string, _ none, _ func(done, total int64)) (Event, error) {
		return one(api.Resume(ctx, name))
	}),
	slowly("POST", "/v1/torrents/{torrent}/relocate", func(ctx context.Context, api control.API, name string, q relocateRequest, progress func(done, total int64)) (Event, error) {
		return one(api.Relocate(ctx, name, q.Path, progress))
	}),
	slowly("POST", "/v1/share", func(ctx context.Context, api control.API, _ string, q shareRequest, progress func(done, total int64)) (Event, error) {
		return one(api.Share(ctx, q.Path, q.Mtorrent, progress))
	}),
	slowly("POST", "/v1/get", func(ctx context.Context, api control.API, _ string, q getRequest, _ func(done, total int64)) (Event, error) {
		return one(api.Get(ctx, q.Mtorrent, q.Path))
	}),
	slowly("POST", "/v1/wait", func(ctx context.Context, api control.API, _ string, q waitRequest, _ func(done, total int64)) (Event, error) {
		list, err := api.Wait(ctx, time.Duration(q.Seconds*float64(time.Second)))
		return Event{Torrents: list}, err
	}),
}

// limitRequest is a change of limits to any that can be kept.
type limitRequest control.LimitChange

func (q limitRequest) check() error {
	for key, limit := range map[string]*int64{"up_bytes_per_second": q.Up, "down_bytes_per_second": q.Down} {
		if limit == nil {
			continue
		}
		if err := units.Rate(*limit).Check(); err != nil {
			return badf("%s: %v", key, err)
		}
	}
	return nil
}

// goalRequest is a goal that a seeding can have.
type goalRequest control.SeedGoal

func (q goalRequest) check() error {
	if err := control.SeedGoal(q).Check(); err != nil {
		return badf("%v", err)
	}
	return nil
}

func setLimits(ctx context.Context, api control.API, name string, q limitRequest) (control.Limits, error) {
	return api.SetLimits(ctx, name, control.LimitChange(q))
}

func one(d control.Download, err error) (Event, error) {
	if err != nil {
		return Event{}, err
	}
	return Event{Torrent: &d}, nil
}

// plainly is an endpoint that answers with one JSON object, or with none.
func plainly[Q, A any](method, pattern string, do func(ctx context.Context, api control.API, name string, q Q) (A, error)) endpoint {
	e := endpoint{method: method, pattern: pattern, asks: bodyOf[Q](), answers: bodyOf[A]()}
	e.serve = func(api control.API, w http.ResponseWriter, r *http.Request) {
		q, err := requestOf[Q](r)
		if err != nil {
			refuse(w, err)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		a, err := do(r.Context(), api, r.PathValue("torrent"), q)
		switch {
		case err != nil:
			refuse(w, err)
		case e.answers == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			write(w, http.StatusOK, a)
		}
	}
	return e
}

// slowly is an endpoint that answers with a stream of events.
func slowly[Q any](method, pattern string, do func(ctx context.Context, api control.API, name string, q Q, progress func(done, total int64)) (Event, error)) endpoint {
	return endpoint{
		method: method, pattern: pattern, asks: bodyOf[Q](), answers: Event{}, streams: true,
		serve: func(api control.API, w http.ResponseWriter, r *http.Request) {
			q, err := requestOf[Q](r)
			if err != nil {
				refuse(w, err)
				return
			}
			stream(w, r, func(ctx context.Context, progress func(done, total int64)) (Event, error) {
				return do(ctx, api, r.PathValue("torrent"), q, progress)
			})
		},
	}
}

// bodyOf is a zero value of a body, nil for none.
func bodyOf[T any]() any {
	var body any = *new(T)
	if body == (any)(none{}) {
		return nil
	}
	return body
}

// requestOf reads and checks the body of a request.
func requestOf[Q any](r *http.Request) (q Q, err error) {
	if _, nothing := any(q).(none); nothing {
		return q, nil
	}
	if err := decode(r.Body, &q); err != nil {
		return q, err
	}
	if c, ok := any(q).(interface{ check() error }); ok {
		return q, c.check()
	}
	return q, nil
}

func (q shareRequest) check() error {
	if err := errors.Join(absolute("path", q.Path), absolute("torrent_file", q.Mtorrent)); err != nil {
		return err
	}
	if err := control.CheckMtorrent(q.Mtorrent); err != nil {
		return badf("torrent_file: %v", err)
	}
	return nil
}

func (q getRequest) check() error {
	return errors.Join(absolute("path", q.Path), absolute("torrent_file", q.Mtorrent))
}

func (q relocateRequest) check() error { return absolute("path", q.Path) }

// absolute demands what means the same in every process.
func absolute(key, path string) error {
	if !filepath.IsAbs(path) {
		return badf("%s: %q is no absolute path", key, path)
	}
	return nil
}

// maxWait is as long as any wait.
const maxWait = 100 * 365 * 24 * time.Hour

func (q waitRequest) check() error {
	if !(q.Seconds >= 0 && q.Seconds <= maxWait.Seconds()) { // false of what is no number
		return badf("timeout_seconds: want 0 to %.0f", maxWait.Seconds())
	}
	return nil
}
