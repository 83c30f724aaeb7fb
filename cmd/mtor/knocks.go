package main

import (
	"log/slog"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// knockEvery is how often the log names one who was refused, for each reason:
// strangers may knock as often as they like, and fill no disk.
const knockEvery = 10 * time.Second

// maxKnockWords is how much of an error the log has, in bytes: the protocols
// that a stranger's hello names may be 64 KiB.
const maxKnockWords = 300

// knockHints say what to do where one of the operator's own machines was refused.
var knockHints = map[transport.Reason]string{
	transport.ReasonNoKey:    ownKey,
	transport.ReasonForeign:  ownKey,
	transport.ReasonBrokeOff: ownKey,
	transport.ReasonExpired:  "if it is a machine of yours: set its clock and this one's",
	transport.ReasonProtocol: "if it is a machine of yours: let both run the same version of mtor",
}

const ownKey = "if it is a machine of yours: give both the same swarm key (--swarm-key), or neither"

// knocks are the handshakes that a role's listeners refused.
type knocks struct {
	log   *slog.Logger
	count func(transport, reason string) // is set before anything listens; nil: nobody counts

	mu   sync.Mutex
	last map[transport.Reason]*lastKnock
}

// lastKnock is when the log last named one, and how many it has not named since.
type lastKnock struct {
	at       time.Time
	unlogged int
}

func newKnocks(log *slog.Logger) *knocks {
	return &knocks{log: log, last: map[transport.Reason]*lastKnock{}}
}

// refused counts one, and names it in the log unless that has just named another.
func (k *knocks) refused(r transport.Refusal) {
	if k.count != nil {
		k.count(r.Scheme, string(r.Reason))
	}
	unlogged, due := k.due(r.Reason, time.Now())
	if !due {
		return
	}
	why := r.Err.Error()
	if len(why) > maxKnockWords {
		why = why[:maxKnockWords] + "..."
	}
	attrs := []any{"from", r.From, "transport", r.Scheme, "reason", string(r.Reason), "error", why}
	if hint := knockHints[r.Reason]; hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	if unlogged > 0 {
		attrs = append(attrs, "unlogged", unlogged)
	}
	k.log.Info("handshake refused", attrs...)
}

// due reports whether the log is to name one, and how many it has not named since
// the last.
func (k *knocks) due(why transport.Reason, now time.Time) (unlogged int, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.last[why]
	if last == nil {
		last = new(lastKnock)
		k.last[why] = last
	} else if now.Sub(last.at) < knockEvery {
		last.unlogged++
		return 0, false
	}
	unlogged, last.at, last.unlogged = last.unlogged, now, 0
	return unlogged, true
}
