// Package netpath joins two places on this machine by a path of a given rate,
// round-trip time, loss and queue, so that transports can be measured over a
// long or lossy line without one.
//
// Each place is a network namespace of its own with one TUN device in it, held
// by a thread; a relay in this process carries the packets from one device to
// the other, and does to them what the path says. Nothing of the machine's own
// network is touched, and all of it is gone when the [Net] is closed or the
// process ends. It needs Linux, root and /dev/net/tun ([Check]); the traffic
// control of the kernel (netem) is not needed.
package netpath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Path is what a packet meets on its way. Both directions are alike and
// independent of each other.
type Path struct {
	// Rate is in bits a second, of whole IP packets.
	Rate int64
	// RTT is the round-trip time of a packet that finds the queues empty.
	RTT time.Duration
	// Loss is the part of the packets that is lost on each way, from 0 to 1,
	// each by its own throw of the dice.
	Loss float64
	// Queue is how many bytes wait before the line at most; packets that find
	// no room are dropped. 0 is what the line carries in one RTT, and never
	// less than MinQueue.
	Queue int64
}

// Bounds of a path. What is under way at once is at most MaxHeld bytes, each
// way.
const (
	MinRate  = 64_000
	MaxRate  = 10_000_000_000
	MaxRTT   = 10 * time.Second
	MinQueue = 64 << 10
	MaxHeld  = 256 << 20
)

// Check says what is wrong with a path.
func (p Path) Check() error {
	switch {
	case p.Rate < MinRate || p.Rate > MaxRate:
		return fmt.Errorf("a rate of %d bit/s: want 64 kbit/s to 10 Gbit/s", p.Rate)
	case p.RTT < 0 || p.RTT > MaxRTT:
		return fmt.Errorf("a round-trip time of %s: want 0 to %s", p.RTT, MaxRTT)
	case !(p.Loss >= 0 && p.Loss < 1):
		return fmt.Errorf("a loss of %v: want a part from 0 to less than 1", p.Loss)
	case p.Queue < 0:
		return fmt.Errorf("a queue of %d bytes", p.Queue)
	case p.Room() > MaxHeld || p.carried(p.RTT)+p.Room() > MaxHeld:
		return fmt.Errorf("rate, round-trip time and queue hold more than %d MiB under way", MaxHeld>>20)
	}
	return nil
}

// Room is Queue, or its default.
func (p Path) Room() int64 {
	if p.Queue > 0 {
		return p.Queue
	}
	return max(p.carried(p.RTT), MinQueue)
}

// carried is how many bytes the line carries in d.
func (p Path) carried(d time.Duration) int64 {
	return int64(float64(p.Rate) / 8 * d.Seconds())
}

// takes is how long the line is busy with n bytes.
func (p Path) takes(n int) time.Duration {
	return time.Duration(float64(n) * 8 * float64(time.Second) / float64(p.Rate))
}

// Stats count packets of both ways.
type Stats struct {
	Carried int64 // that were delivered
	Lost    int64 // by the dice
	Dropped int64 // since the queue was full
}

// Why a packet does not arrive.
var (
	errLost    = errors.New("lost on the line")
	errDropped = errors.New("dropped by a full queue")
)

// line is one direction. It is bookkeeping without a clock: times are those
// since any one moment, and never go back.
type line struct {
	Path
	dice *rand.Rand
	busy time.Duration // until then the line sends what it has taken
}

// take says when a packet of n bytes that comes now arrives at the other end,
// or why it does not.
func (l *line) take(now time.Duration, n int) (time.Duration, error) {
	waits := max(0, l.busy-now)
	if l.carried(waits)+int64(n) > l.Room() {
		return 0, errDropped
	}
	l.busy = now + waits + l.takes(n)
	if l.Loss > 0 && l.dice.Float64() < l.Loss {
		return 0, errLost
	}
	return l.busy + l.RTT/2, nil
}
