package torrent

import (
	"sync"
	"time"
)

// servings are the pieces that are being sent. Their file is not closed under
// them: a carrier that cannot go on within a frame must end the whole session.
type servings struct {
	mu    sync.Mutex
	ended bool
	stops map[*func()]bool
	idle  chan struct{} // closed when it has ended and nothing is being sent
}

func newServings() *servings {
	return &servings{stops: make(map[*func()]bool), idle: make(chan struct{})}
}

// begin enters a piece, unless nothing more is to be sent; done takes it out.
// stop is called at the end.
func (s *servings) begin(stop func()) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, false
	}
	s.stops[&stop] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.stops, &stop)
		s.tell()
	}, true
}

func (s *servings) tell() {
	if s.ended && len(s.stops) == 0 {
		close(s.idle)
	}
}

// end stops what is being sent and waits until it has stopped, for as long as
// patience.
func (s *servings) end(patience time.Duration) {
	s.mu.Lock()
	s.ended = true
	stops := make([]func(), 0, len(s.stops))
	for stop := range s.stops {
		stops = append(stops, *stop)
	}
	s.tell()
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.idle:
	case <-timer.C:
	}
}
