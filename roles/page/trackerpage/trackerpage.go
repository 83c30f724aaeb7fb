// Package trackerpage is the page of a tracker: what it lists, who is connected,
// and how it stands with the other trackers.
package trackerpage

import (
	"context"
	_ "embed" // the page
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/page"
	"github.com/mtor-dev/mtor/roles/tracker/admin"
	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

//go:embed tracker.html
var text string

// Source is the tracker that is shown.
type Source interface {
	Status() admin.Status
	Busiest(n int) []registry.Standing
}

const (
	// maxTorrents is how many are shown.
	maxTorrents = 50
	// counted is how long their order is shown before they are counted anew, which
	// takes a look at each.
	counted = 2 * time.Second
)

// New makes the page of a tracker that is served at addr and asks for token,
// unless that is empty.
func New(addr net.Addr, token string, src Source) http.Handler {
	v := &viewer{src: src}
	return page.New(page.Options{Role: "tracker", Addr: addr, Token: token, Main: text, Data: v.view})
}

type viewer struct {
	src Source

	mu   sync.Mutex
	list []registry.Standing
	at   time.Time
}

// view is what the template shows.
type view struct {
	admin.Status
	Others []other
	List   []registry.Standing
	More   int // torrents that are not in List
}

// other is another tracker.
type other struct {
	admin.Tracker
	Name string
	Link string // both ways, from it only, to it only, down
	Up   bool   // both ways
	Lag  string
	// Behind is how many changes, and Word how long ago it was heard of.
	Behind, Word string
}

func (v *viewer) view(context.Context) (any, error) {
	out := view{Status: v.src.Status(), List: v.busiest()}
	out.More = max(0, out.Torrents-len(out.List))
	for _, t := range out.Trackers {
		out.Others = append(out.Others, describe(t, time.Now()))
	}
	return out, nil
}

func (v *viewer) busiest() []registry.Standing {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); v.at.IsZero() || now.Sub(v.at) > counted {
		v.list, v.at = v.src.Busiest(maxTorrents), now
	}
	return v.list
}

// lagWords is a lag with the unit that fits.
func lagWords(seconds float64) string {
	if seconds < 1 {
		return strconv.FormatFloat(seconds*1000, 'f', 1, 64) + " ms"
	}
	return page.Span(time.Duration(seconds * float64(time.Second)))
}

func describe(t admin.Tracker, now time.Time) other {
	o := other{Tracker: t, Name: t.Addr, Lag: "–", Behind: "–", Word: "never"}
	if o.Name == "" {
		o.Name = "not configured"
	}
	switch {
	case t.Connected && t.Following:
		o.Link, o.Up = "both ways", true
	case t.Connected:
		o.Link = "from it only"
	case t.Following:
		o.Link = "to it only"
	default:
		o.Link = "down"
	}
	if t.Lag != nil {
		o.Lag = lagWords(*t.Lag)
	}
	if t.RowsBehind != nil {
		o.Behind = page.Many(*t.RowsBehind, "change")
	}
	if t.LastContact != nil {
		o.Word = page.Span(max(0, now.Sub(*t.LastContact))) + " ago"
	}
	return o
}
