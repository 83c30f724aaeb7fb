package torrent

import (
	"context"
	"errors"
	"time"

	"github.com/mtor-dev/mtor/roles/client/storage"
)

// A download that the disk has no room for is paused: it asks for no pieces,
// serves those that it has, and looks for room firstLook after it was paused,
// then twice as much later each time, up to maxLook.
const (
	firstLook = time.Second
	maxLook   = 30 * time.Second
)

// room is what a swarm knows of the room for its file.
type room struct {
	none    bool // the download is paused
	looking bool
	wait    time.Duration // before the next look; 0 once a piece has been written
	next    time.Time
	asking  []chan error // who waits for what the next look finds
}

// looked ends a look for room.
type looked struct{ err error }

// asked has a paused download look for room at once.
type asked struct{ answer chan error }

// pause stops the asking for pieces until there is room.
func (s *swarm) pause(err error) {
	if s.failed {
		return
	}
	first := !s.room.none
	if first || !s.room.looking && !time.Now().Before(s.room.next) {
		s.room.wait = min(max(2*s.room.wait, firstLook), maxLook)
		s.room.next = time.Now().Add(s.room.wait)
	}
	s.room.none = true
	s.update(func(st *Status) { st.Paused = err })
	if !first {
		return
	}
	s.o.Log.Warn("download paused, goes on when there is room", "error", err, "looks_after", s.room.wait)
	s.cancelAll()
	s.o.Stopped()
}

// look finds out, when it is time to, whether a paused download has room.
func (s *swarm) look(now time.Time) {
	if !s.room.none || s.room.looking || s.failed || s.ending || s.whole || now.Before(s.room.next) {
		return
	}
	s.room.looking = true
	s.wg.Go(func() { _ = s.post(looked{s.o.File.Reserve(s.fetching)}) })
}

func (e looked) apply(s *swarm) {
	s.room.looking = false
	switch {
	case e.err == nil:
		s.goOn()
	case errors.Is(e.err, context.Canceled):
		return // Run ends
	case storage.IsDiskFull(e.err):
		s.pause(e.err)
	default:
		s.fail(e.err)
	}
	for _, answer := range s.room.asking {
		answer <- e.err
	}
	s.room.asking = nil
}

func (s *swarm) goOn() {
	if !s.room.none {
		return
	}
	s.room.none = false
	s.update(func(st *Status) { st.Paused = nil })
	s.o.Log.Info("there is room: the download goes on")
	s.o.Lonely() // peers may have come and gone
	s.complete()
	s.ask()
}

func (e asked) apply(s *swarm) {
	if !s.room.none {
		e.answer <- nil
		return
	}
	s.room.asking = append(s.room.asking, e.answer)
	s.room.next = time.Time{}
	s.look(time.Now())
}

// GoOn has a download that is paused look for room now, and returns what keeps it
// from going on: nil if nothing does.
func (t *Torrent) GoOn(ctx context.Context) error {
	answer := make(chan error, 1)
	if err := t.post(asked{answer}); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-t.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}
