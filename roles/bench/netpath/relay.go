package netpath

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// mtu is that of an Ethernet, which is what most paths have.
const mtu = 1500

// maxPackets bounds the packets under way: MaxHeld in full ones. Smaller ones
// beyond it are dropped as by a full queue.
const maxPackets = MaxHeld / mtu

// way is one direction of the relay: a goroutine takes packets from one device,
// another gives them to the other device when they are due.
type way struct {
	from    io.Reader // a packet a read
	to      io.Writer
	stop    chan struct{} // closed: deliver what is on the line at once
	flight  chan packet
	buffers sync.Pool

	mu    sync.Mutex
	line  line
	stats Stats
}

// packet is one on the line, in the order of arrival.
type packet struct {
	buf *[mtu]byte
	n   int
	at  time.Duration
}

func newWay(p Path, from io.Reader, to io.Writer, dice *rand.Rand) *way {
	return &way{
		from: from, to: to, stop: make(chan struct{}), flight: make(chan packet, maxPackets),
		buffers: sync.Pool{New: func() any { return new([mtu]byte) }},
		line:    line{Path: p, dice: dice},
	}
}

func (w *way) set(p Path) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Path = p
}

// take reads packets until there are no more.
func (w *way) take(began time.Time) {
	defer close(w.flight)
	for {
		buf := w.buffers.Get().(*[mtu]byte)
		n, err := w.from.Read(buf[:])
		if err != nil {
			return
		}
		w.mu.Lock()
		at, err := w.line.take(time.Since(began), n)
		w.mu.Unlock()
		if err == nil {
			select {
			case w.flight <- packet{buf, n, at}:
				continue
			default:
				err = errDropped
			}
		}
		w.buffers.Put(buf)
		w.mu.Lock()
		if errors.Is(err, errLost) {
			w.stats.Lost++
		} else {
			w.stats.Dropped++
		}
		w.mu.Unlock()
	}
}

// deliver writes packets when they are due. The clock's timers are up to a
// millisecond late; the packets that are due by then leave together, so that
// the rate is that of the path.
func (w *way) deliver(began time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range w.flight {
		if early := p.at - time.Since(began); early > 0 {
			timer.Reset(early)
			select {
			case <-timer.C:
			case <-w.stop:
			}
		}
		_, err := w.to.Write(p.buf[:p.n]) // fails only when the device is closed
		w.buffers.Put(p.buf)
		if err == nil {
			w.mu.Lock()
			w.stats.Carried++
			w.mu.Unlock()
		}
	}
}
