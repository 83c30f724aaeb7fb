package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// Client is the control.API of a client in another process. Relative paths are
// made absolute in this one, and names looked up from here. When nobody answers,
// errors are [ErrNoClient].
type Client struct {
	path string
	http http.Client
}

var _ control.API = (*Client)(nil)

// dialTimeout bounds the dialling of a socket: a process that is stopped, or has
// no room for more connections, takes none.
const dialTimeout = 10 * time.Second

// New makes a Client of a socket. It connects when it is used.
func New(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1}}}
}

// Path is the socket's.
func (c *Client) Path() string { return c.path }

// Alive reports whether a process answers at the socket.
func (c *Client) Alive(ctx context.Context) bool {
	conn, err := (&net.Dialer{Timeout: lookTimeout}).DialContext(ctx, "unix", c.path)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Close ends what is kept between requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Share implements control.API.
func (c *Client) Share(ctx context.Context, path, mtorrent string, progress func(done, total int64)) (control.Download, error) {
	path, mtorrent, err := control.Absolute(path, mtorrent)
	if err != nil {
		return control.Download{}, fmt.Errorf("share: %w", err)
	}
	return torrent(c.stream(ctx, "/v1/share", shareRequest{Path: path, Mtorrent: mtorrent}, progress))
}

// Get implements control.API.
func (c *Client) Get(ctx context.Context, mtorrent, dest string) (control.Download, error) {
	abs, mtorrent, err := control.Absolute(dest, mtorrent)
	if err != nil {
		return control.Download{}, fmt.Errorf("get: %w", err)
	}
	if n := len(dest); n > 0 && filepath.IsAbs(abs) && dest[n-1] == filepath.Separator && abs[len(abs)-1] != filepath.Separator {
		abs += string(filepath.Separator) // it says that a folder is meant
	}
	return torrent(c.stream(ctx, "/v1/get", getRequest{Path: abs, Mtorrent: mtorrent}, nil))
}

// Downloads implements control.API.
func (c *Client) Downloads(ctx context.Context) ([]control.Download, error) {
	var list torrentList
	err := c.ask(ctx, http.MethodGet, "/v1/torrents", nil, &list)
	return list.Torrents, err
}

// Peers implements control.API.
func (c *Client) Peers(ctx context.Context, name string) ([]control.Peer, error) {
	var list peerList
	err := c.about(ctx, "peers", name, func(at string) error {
		return c.ask(ctx, http.MethodGet, at+"/peers", nil, &list)
	})
	return list.Peers, err
}

// Remove implements control.API.
func (c *Client) Remove(ctx context.Context, name string) (left control.Removed, err error) {
	err = c.about(ctx, "remove", name, func(at string) error {
		return c.ask(ctx, http.MethodDelete, at, nil, &left)
	})
	return left, err
}

// Pause implements control.API.
func (c *Client) Pause(ctx context.Context, name string) (d control.Download, err error) {
	err = c.about(ctx, "pause", name, func(at string) error {
		return c.ask(ctx, http.MethodPost, at+"/pause", nil, &d)
	})
	return d, err
}

// Resume implements control.API.
func (c *Client) Resume(ctx context.Context, name string) (d control.Download, err error) {
	err = c.about(ctx, "resume", name, func(at string) error {
		d, err = torrent(c.stream(ctx, at+"/resume", nil, nil))
		return err
	})
	return d, err
}

// Relocate implements control.API.
func (c *Client) Relocate(ctx context.Context, name, path string, progress func(done, total int64)) (d control.Download, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return d, fmt.Errorf("relocate: %w", err)
	}
	err = c.about(ctx, "relocate", name, func(at string) error {
		d, err = torrent(c.stream(ctx, at+"/relocate", relocateRequest{path}, progress))
		return err
	})
	return d, err
}

// SeedUntil implements control.API.
func (c *Client) SeedUntil(ctx context.Context, name string, goal control.SeedGoal) (d control.Download, err error) {
	err = c.about(ctx, "seed until", name, func(at string) error {
		return c.ask(ctx, http.MethodPut, at+"/seed-until", goal, &d)
	})
	return d, err
}

// SetLimits implements control.API.
func (c *Client) SetLimits(ctx context.Context, name string, change control.LimitChange) (l control.Limits, err error) {
	if name == "" {
		return l, c.ask(ctx, http.MethodPatch, "/v1/limits", change, &l)
	}
	err = c.about(ctx, "limit", name, func(at string) error {
		return c.ask(ctx, http.MethodPatch, at+"/limits", change, &l)
	})
	return l, err
}

// Status implements control.API.
func (c *Client) Status(ctx context.Context) (s control.Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Wait implements control.API.
func (c *Client) Wait(ctx context.Context, timeout time.Duration) ([]control.Download, error) {
	e, err := c.stream(ctx, "/v1/wait", waitRequest{timeout.Seconds()}, nil)
	return e.Torrents, err
}

// Quit implements control.API.
func (c *Client) Quit(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/v1/quit", nil, nil)
}

// about looks a name up and calls do with the address of the torrent.
func (c *Client) about(ctx context.Context, what, name string, do func(at string) error) error {
	list, err := c.Downloads(ctx)
	if err != nil {
		return err
	}
	d, err := control.Find(list, control.Download.Named, name)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return do("/v1/torrents/" + url.PathEscape(d.ID))
}

// ask sends a request and reads its one answer, both nil for none.
func (c *Client) ask(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("the client at %s: its answer cannot be read: %w", c.path, err)
	}
	return nil
}

// stream sends a request and reads its events to the last, which it returns.
func (c *Client) stream(ctx context.Context, path string, body any, progress func(done, total int64)) (Event, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the client at %s is silent: is it stopped?", c.path)) })
	defer silent.Stop()
	resp, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return Event{}, err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	last, err := events(io.LimitReader(resp.Body, maxAnswer), func(e Event) {
		silent.Reset(silence)
		if progress != nil && e.Total > 0 {
			progress(e.Done, e.Total)
		}
	})
	switch {
	case ctx.Err() != nil:
		return Event{}, context.Cause(ctx)
	case err != nil:
		return Event{}, fmt.Errorf("the client at %s: its answer cannot be read: %w", c.path, err)
	case last.Error != nil:
		return last, last.Error
	}
	return last, nil
}

// events reads a stream to its last event.
func events(r io.Reader, heard func(Event)) (last Event, err error) {
	d := json.NewDecoder(r)
	for {
		var e Event
		if err := d.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the client has ended
			}
			return Event{}, err
		}
		switch e.Event {
		case working:
			heard(e)
		case ended:
			e.Error = nil
			return e, nil
		case failed:
			if e.Error == nil {
				return Event{}, errors.New("a failure without a reason")
			}
			return e, nil
		default: // of a newer client
		}
	}
}

// torrent is the one that a stream's last event tells of.
func torrent(e Event, err error) (control.Download, error) {
	switch {
	case err != nil:
		return control.Download{}, err
	case e.Torrent == nil:
		return control.Download{}, errors.New("the client's answer names no torrent")
	}
	return *e.Torrent, nil
}

// send sends a request and returns an answer of success.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mtor"+path, content)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // only read
	var r Refusal
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || r.Text == "" {
		return nil, fmt.Errorf("%s is no mtor client's socket: it answers %s", c.path, resp.Status)
	}
	return nil, &r
}

// unreached says why a request had no answer.
func (c *Client) unreached(ctx context.Context, err error) error {
	var op *net.OpError
	switch dialling := errors.As(err, &op) && op.Op == "dial"; {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return context.Cause(ctx)
	case dialling && (nobody(err) || errors.Is(err, fs.ErrNotExist)):
		return fmt.Errorf("%w at %s", ErrNoClient, c.path)
	case dialling:
		return fmt.Errorf("client at %s: %w", c.path, op.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("client at %s: no answer in %s: is it stopped, or very busy?", c.path, answerTimeout)
	case errors.Is(err, io.EOF), strings.Contains(err.Error(), "reset by peer"):
		return fmt.Errorf("%w at %s any more: it has ended meanwhile", ErrNoClient, c.path)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the method and URL
	}
	return fmt.Errorf("client at %s: %w", c.path, err)
}
