package registry

import "time"

// Stamp is a hybrid logical clock reading (Kulkarni et al., "Logical Physical
// Clocks", 2014): milliseconds since 1970 in the upper 48 bits, a counter in
// the next 15, and in the lowest bit whether the stamp belongs to an expiry.
//
// What a client asks for gets an even stamp, and an expiry the odd one right
// above the row that it ends. So an expiry beats that row, ties with nothing,
// and loses to whatever the client did later, on any tracker.
type Stamp uint64

const (
	stampShift = 16
	// maxStamp bounds the stamps that are taken from others. It lies two
	// thousand years ahead, so no skewed clock reaches it, and a tracker that
	// has seen it can still count upwards.
	maxStamp Stamp = 1<<62 - 1
	// MaxEcho is how far ahead of this tracker's clock the stamp echoed by a
	// client may be. One further ahead is ignored, so that a client cannot
	// push the clocks of a whole swarm.
	MaxEcho = 48 * time.Hour
)

// expired is the smallest step above s.
func (s Stamp) expired() Stamp { return s | 1 }

// byExpiry reports whether s was made by [Stamp.expired].
func (s Stamp) byExpiry() bool { return s&1 == 1 }

// Time is the clock reading of the stamp, to the millisecond.
func (s Stamp) Time() time.Time { return time.UnixMilli(int64(s >> stampShift)) }

// stampAt is the first stamp of a millisecond since 1970.
func stampAt(wall int64) Stamp {
	return Stamp(max(0, min(wall, int64(maxStamp>>stampShift)))) << stampShift
}

// clock gives out stamps that exceed all it has given or seen.
type clock struct{ last Stamp }

// next is an even stamp above every stamp given or observed before.
func (c *clock) next(wall int64) Stamp {
	c.last = max(stampAt(wall), (c.last|1)+1)
	return c.last
}

func (c *clock) observe(s Stamp) { c.last = max(c.last, s) }

// echo is what counts of a stamp that a client brought along.
func (c *clock) echo(s Stamp, wall int64) Stamp {
	if s > stampAt(wall+MaxEcho.Milliseconds()) {
		return 0
	}
	c.observe(s)
	return s
}
