package tcp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

var (
	errStreamClosed = fmt.Errorf("tcp stream: %w", net.ErrClosed)
	errConcurrent   = errors.New("tcp stream: two reads at once")
)

// stream is one end of a stream. The session's mutex guards the sending half
// and what both halves have in common, the stream's own the receiving half.
type stream struct {
	s   *session
	own bool // this end opened it

	// Guarded by the session's mutex.
	id        uint64 // 0 until the opener's first frame
	credit    int64  // what may be sent
	promised  uint32 // credit for the peer that waits until the stream has an ID
	werr      error  // an abort, or the peer's stop
	finSent   bool
	sendOver  bool // nothing more will be sent
	recvOver  bool // nothing more will come; written by the read loop only
	closed    bool // Close or Abort was called
	queued    bool // waits for Accept
	forgotten bool // the session has let go of it

	canRead, canWrite chan struct{} // one element: look again
	turn              chan struct{} // one element: the write side is ours
	sending           sync.Mutex    // one writer at a time

	mu       sync.Mutex
	unread   ring
	held     int    // what of unread is in the session's account
	window   int64  // what the peer may still send
	post     []byte // the reader's buffer while it waits; nil once it has what it wants
	postN    int    // how much of post is filled
	postFull bool   // it wants all of post, not the first bytes
	lent     bool   // the read loop is reading into post
	filling  bool   // the read loop is reading into unread
	reading  bool   // a reader is in Read or ReadFull
	fin      bool
	rerr     error // an abort, or this end's Close

	deadline
}

func newStream(s *session, own bool) *stream {
	st := &stream{
		s:        s,
		own:      own,
		credit:   transport.InitialCredit,
		window:   transport.InitialCredit,
		canRead:  make(chan struct{}, 1),
		canWrite: make(chan struct{}, 1),
		turn:     make(chan struct{}, 1),
	}
	return st
}

// forgetIfOver is called with the session's mutex held.
func (st *stream) forgetIfOver() {
	if st.sendOver && st.recvOver {
		st.s.forget(st)
	}
}

func (st *stream) CloseWrite() error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.finSent {
		return nil
	}
	if err := st.writeErr(); err != nil {
		return err
	}
	st.queueFin()
	st.forgetIfOver()
	s.flush()
	return nil
}

// queueFin ends the sending half. Called with the session's mutex held.
func (st *stream) queueFin() {
	st.finSent, st.sendOver = true, true
	st.s.queue(header{typ: frameData, flags: st.begin() | flagFin, id: st.id})
	st.keepPromise()
	nudge(st.canWrite) // a Write that is going on shall stop
}

func (st *stream) Close() error {
	st.stop()
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.closed || s.ended.Load() != nil {
		return nil
	}
	st.closed = true
	if !st.forgotten {
		if st.werr == nil && !st.finSent {
			st.queueFin()
		}
		if !st.recvOver {
			s.queue(header{typ: frameStop, id: st.id})
		}
		s.forget(st)
	}
	st.giveUpReading(errStreamClosed)
	s.flush()
	return nil
}

func (st *stream) Abort(code transport.Code) {
	st.stop()
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.closed || s.ended.Load() != nil {
		return
	}
	st.closed = true
	why := &transport.AbortError{Code: code}
	if st.werr == nil || !st.forgotten {
		st.werr = why
	}
	nudge(st.canWrite)
	if !st.forgotten {
		if st.id != 0 {
			s.queue(header{typ: frameAbort, value: uint32(code), id: st.id})
		}
		s.forget(st)
	}
	st.giveUpReading(why)
	s.flush()
}

// deadline tells a stream's reader and writer that their time is over.
type deadline struct {
	expired atomic.Bool

	timing     sync.Mutex
	timer      *time.Timer
	generation int // a timer that fires late sees that it is not its own
}

func (st *stream) SetDeadline(t time.Time) error {
	if err := st.s.Err(); err != nil {
		return err
	}
	d := &st.deadline
	d.timing.Lock()
	defer d.timing.Unlock()
	d.cancel()
	d.expired.Store(false)
	if t.IsZero() {
		return nil
	}
	left := time.Until(t)
	if left <= 0 {
		st.expire()
		return nil
	}
	mine := d.generation
	d.timer = time.AfterFunc(left, func() {
		d.timing.Lock()
		defer d.timing.Unlock()
		if d.generation == mine {
			st.expire()
		}
	})
	return nil
}

func (st *stream) expire() {
	st.expired.Store(true)
	nudge(st.canRead)
	nudge(st.canWrite)
}

// stop is called when the stream is given up.
func (d *deadline) stop() {
	d.timing.Lock()
	defer d.timing.Unlock()
	d.cancel()
}

func (d *deadline) cancel() {
	d.generation++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
