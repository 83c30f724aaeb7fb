package torrent

import (
	"time"
)

const (
	// slowPiece is how long a piece may be on its way while another peer that
	// has it stands idle.
	slowPiece = 12 * time.Second
	// firstLate is the same for a piece that two peers were asked for, as long
	// as none has come that would show how long one takes here.
	firstLate = 4 * time.Second
	// lateTimes is how many times longer than usual such a piece may take, and
	// minLate the least of that.
	lateTimes = 4
	minLate   = time.Second
)

// late is when a piece that two peers were asked for is taken back from the
// slower of them. The other goes on, so that nothing is lost when all are slow.
func (s *swarm) late() time.Duration {
	if s.usual == 0 {
		return firstLate
	}
	return min(max(lateTimes*s.usual, minLate), slowPiece)
}

// timed takes in how long a piece was on its way.
func (s *swarm) timed(took time.Duration) {
	if s.usual == 0 {
		s.usual = took
	}
	s.usual = time.Duration(float64(s.usual)*rateMemory + float64(took)*(1-rateMemory))
}

// freeSlow takes pieces back from peers that hold them for long, when another
// peer has nothing to do: its window is empty although it has what is missing.
func (s *swarm) freeSlow(now time.Time) {
	late := s.late()
	for _, src := range s.sources {
		for piece, r := range src.asked {
			age := now.Sub(r.since)
			if r.slow || age <= late || !s.idleFor(piece, now) {
				continue
			}
			second := s.secondAsked(piece, src)
			if age > slowPiece || second != nil && !second.asked[piece].slow && src.rate <= second.rate {
				r.slow = true
				r.cancel()
			}
		}
	}
}

// idleFor reports whether a peer that has a piece, and was not asked for it, has
// nothing to do.
func (s *swarm) idleFor(piece int, now time.Time) bool {
	for _, src := range s.sources {
		if len(src.asked) == 0 && !now.Before(src.restTill) && src.has.Test(uint(piece)) {
			return true
		}
	}
	return false
}

// secondAsked is the other peer that was asked for a piece; nil if there is none.
func (s *swarm) secondAsked(piece int, first *source) *source {
	for _, src := range s.sources {
		if src != first && src.asked[piece] != nil {
			return src
		}
	}
	return nil
}
