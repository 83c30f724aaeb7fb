package tcp

import (
	"sync"

	"github.com/mtor-dev/mtor/transport"
)

// ring holds the unread bytes of one stream. It is empty until bytes come, and
// as large as they need: a power of two.
type ring struct {
	buf  []byte
	r, n int // n bytes from r on
}

const smallestRing = 512

// fullRings keeps rings of the size that a stream's first credit fills: a
// reader that comes a little late would otherwise cost one for each piece.
var fullRings = sync.Pool{New: func() any { return new([transport.InitialCredit]byte) }}

// space returns free memory for at most want bytes, and at least one.
func (q *ring) space(want int) []byte {
	if free := len(q.buf) - q.n; free < want {
		q.grow(q.n + want)
	}
	w := (q.r + q.n) % len(q.buf)
	end := len(q.buf)
	if w < q.r {
		end = q.r
	}
	return q.buf[w:end][:min(want, end-w)]
}

// added says that the first n bytes of what space returned are filled.
func (q *ring) added(n int) { q.n += n }

func (q *ring) grow(need int) {
	size := smallestRing
	for size < need {
		size *= 2
	}
	var buf []byte
	if size == transport.InitialCredit {
		buf = fullRings.Get().(*[transport.InitialCredit]byte)[:]
	} else {
		buf = make([]byte, size)
	}
	n := q.read(buf)
	q.buf, q.r, q.n = buf, 0, n
}

// read moves bytes to p.
func (q *ring) read(p []byte) int {
	total := 0
	for q.n > 0 && total < len(p) {
		k := copy(p[total:], q.buf[q.r:min(q.r+q.n, len(q.buf))])
		q.r = (q.r + k) % len(q.buf)
		q.n -= k
		total += k
	}
	return total
}

// shrink gives large memory back while there is nothing in it.
func (q *ring) shrink() {
	if len(q.buf) >= transport.InitialCredit {
		q.free()
	}
}

// free gives the memory back. Nobody may hold what space returned.
func (q *ring) free() {
	if len(q.buf) == transport.InitialCredit {
		fullRings.Put((*[transport.InitialCredit]byte)(q.buf))
	}
	*q = ring{}
}
