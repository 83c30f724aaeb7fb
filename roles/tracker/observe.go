package tracker

import (
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
)

// Observer hears what happens at a tracker, and between it and the others, for
// whoever counts it. Each function may be nil, is called from many goroutines and must
// not block. peer is the other tracker's address as configured, or its node ID
// in hex where that is all that is known of it.
type Observer struct {
	// SyncLag hears, for each commit that another tracker acknowledges, how long
	// it took from this tracker's disk to that one's.
	SyncLag func(peer string, lag time.Duration)
	// CaughtUp hears how many entries the first round of a link brought, and how
	// long it took.
	CaughtUp func(peer string, entries int, took time.Duration)
	// Repaired hears how many entries were taken from another tracker because
	// the lists differed although both accounted for the same. None is expected.
	Repaired func(peer string, entries int)
	// Answered hears of each request of a client: its kind, what came of it ("ok",
	// or the word of a wire.Error) and how long it took until the answer could be
	// sent. Both are of a few constant words.
	Answered func(request, result string, took time.Duration)
	// Committed hears how long each commit to the seederlist file took.
	Committed func(took time.Duration)
}

// kindOf is the word for a kind of request.
func kindOf(req *wire.Request) string {
	switch req.GetKind().(type) {
	case *wire.Request_Announce:
		return "announce"
	case *wire.Request_SeederList:
		return "seederlist"
	case *wire.Request_Remove:
		return "remove"
	case *wire.Request_Leave:
		return "leave"
	case *wire.Request_Renew:
		return "renew"
	case *wire.Request_Probe:
		return "probe"
	}
	return "unknown"
}

// resultWords are the words for what came of a request.
var resultWords = func() map[wire.Error]string {
	words := map[wire.Error]string{wire.Error_ERROR_NONE: "ok"}
	for n, name := range wire.Error_name {
		if n != 0 {
			words[wire.Error(n)] = strings.ToLower(strings.TrimPrefix(name, "ERROR_"))
		}
	}
	return words
}()

// answered tells of a request whose reply is complete.
func (t *Tracker) answered(s *slot) {
	if f := t.opts.Observe.Answered; f != nil {
		f(s.kind, resultWords[s.reply.GetError()], time.Since(s.begun))
	}
}

// observe passes on what the registry tells.
func (t *Tracker) observe() {
	if f := t.opts.Observe.SyncLag; f != nil {
		t.reg.ObserveLag(func(n registry.NodeID, lag time.Duration) { f(t.links.name(n), lag) })
	}
	if f := t.opts.Observe.Committed; f != nil {
		t.reg.ObserveCommits(f)
	}
}

func (t *Tracker) caughtUp(peer string, entries int, took time.Duration) {
	t.log.Info("caught up with peer tracker", "peer", peer, "rows", entries, "in", took.Round(time.Microsecond))
	if f := t.opts.Observe.CaughtUp; f != nil {
		f(peer, entries, took)
	}
}

func (t *Tracker) repaired(peer string, entries int) {
	t.log.Warn("the lists differed although both trackers knew the same; repaired", "peer", peer,
		"rows", entries, "since_start", t.reg.Repaired())
	if f := t.opts.Observe.Repaired; f != nil {
		f(peer, entries)
	}
}
