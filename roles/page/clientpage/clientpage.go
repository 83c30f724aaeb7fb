// Package clientpage is the page of a client: its downloads and what it seeds, how
// fast, and with whom.
package clientpage

import (
	"cmp"
	"context"
	_ "embed" // the page
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/page"
)

//go:embed client.html
var text string

const (
	// maxTorrents and maxPeers are how many are shown, of peers for each torrent: a
	// page that is made anew every second stays within some hundred KiB.
	maxTorrents = 100
	maxPeers    = 20
)

// Source is the part of [control.API] that the page shows.
type Source interface {
	Status(ctx context.Context) (control.Status, error)
	Downloads(ctx context.Context) ([]control.Download, error)
	Peers(ctx context.Context, name string) ([]control.Peer, error)
}

// New makes the page of a client that is served at addr and asks for token, unless
// that is empty.
func New(addr net.Addr, token string, src Source) http.Handler {
	v := &viewer{src}
	return page.New(page.Options{Role: "client", Addr: addr, Token: token, Main: text, Data: v.view})
}

type viewer struct{ src Source }

// view is what the template shows.
type view struct {
	control.Status
	Running int // torrents that are fetched now
	Whole   int
	List    []torrent
	More    int // torrents that are not in List
	Unheard []string
	Up      time.Duration // since the start
}

// torrent is one row.
type torrent struct {
	control.Download
	Class    string // how it looks: downloading, seeding, resting, waiting, stopped
	Word     string // its state
	Left     string // how long it takes yet
	Over     []transport
	With     []control.Peer
	MorePeer int // peers that are not in With
}

// transport is how many pieces came over one.
type transport struct {
	Name   string
	Pieces int
}

func (v *viewer) view(ctx context.Context) (any, error) {
	status, err := v.src.Status(ctx)
	if err != nil {
		return nil, err
	}
	all, err := v.src.Downloads(ctx)
	if err != nil {
		return nil, err
	}
	out := view{Status: status, Up: time.Since(status.Started)}
	for _, d := range all {
		switch {
		case d.State == control.Downloading:
			out.Running++
		case d.Whole():
			out.Whole++
		}
	}
	for _, set := range status.Trackers {
		if !set.Reachable {
			out.Unheard = append(out.Unheard, strings.Join(set.Addrs, ", "))
		}
	}
	slices.SortStableFunc(all, func(a, b control.Download) int { return cmp.Compare(rank(a), rank(b)) })
	out.More = max(0, len(all)-maxTorrents)
	for _, d := range all[:min(len(all), maxTorrents)] {
		t := describe(d)
		if d.Peers > 0 {
			with, err := v.src.Peers(ctx, d.ID)
			if err != nil && !errors.Is(err, control.ErrUnknown) { // removed meanwhile
				return nil, err
			}
			t.With, t.MorePeer = with[:min(len(with), maxPeers)], max(0, len(with)-maxPeers)
		}
		out.List = append(out.List, t)
	}
	return out, nil
}

// rank has first what somebody waits for, then what went wrong.
func rank(d control.Download) int {
	switch {
	case d.State == control.Downloading:
		return 0
	case d.State == control.Failed, d.State == control.Missing, d.State == control.NoRoom:
		return 1
	case d.UpRate >= 1:
		return 2
	}
	return 3
}

func describe(d control.Download) torrent {
	t := torrent{Download: d, Word: strings.ReplaceAll(string(d.State), "_", " ")}
	switch d.State {
	case control.Downloading:
		t.Class = "downloading"
	case control.Seeding:
		t.Class = "seeding"
	case control.Paused:
		t.Class = "resting"
	case control.NoRoom:
		t.Class = "waiting"
	default:
		t.Class = "stopped"
	}
	if left, ok := d.Left(); ok {
		t.Left = page.Span(left)
	}
	over := map[string]int{}
	for source, n := range d.Sources {
		scheme, _, _ := strings.Cut(source, " ")
		over[scheme] += n
	}
	for name, n := range over {
		t.Over = append(t.Over, transport{name, n})
	}
	slices.SortFunc(t.Over, func(a, b transport) int { return cmp.Or(b.Pieces-a.Pieces, strings.Compare(a.Name, b.Name)) })
	return t
}
