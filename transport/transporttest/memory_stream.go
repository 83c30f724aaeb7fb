package transporttest

import (
	"io"
	"os"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// half is one direction of a stream. The link's mutex guards it.
type half struct {
	unread []byte // at most transport.InitialCredit
	post   []byte // what is still empty of the buffer that the reader posted
	fin    bool   // the writer has ended it
	rerr   error  // what the reader gets: an abort, or a close of its own
	werr   error  // what the writer gets

	canRead, canWrite chan struct{} // one element: look again
}

func newHalf() *half {
	return &half{canRead: make(chan struct{}, 1), canWrite: make(chan struct{}, 1)}
}

func (h *half) poke() {
	nudge(h.canRead)
	nudge(h.canWrite)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put takes what the flow control allows of p.
func (h *half) put(p []byte) int {
	n := copy(h.post, p)
	h.post = h.post[n:]
	if room := transport.InitialCredit - len(h.unread); n < len(p) && room > 0 {
		k := min(room, len(p)-n)
		h.unread = append(h.unread, p[n:n+k]...)
		n += k
	}
	if n > 0 {
		nudge(h.canRead)
	}
	return n
}

// take moves unread bytes to p.
func (h *half) take(p []byte) int {
	n := copy(p, h.unread)
	h.unread = h.unread[n:]
	if len(h.unread) == 0 {
		h.unread = nil
	}
	if n > 0 {
		nudge(h.canWrite)
	}
	return n
}

// memoryStream is one end of a stream.
type memoryStream struct {
	session  *memorySession
	peer     *memoryStream
	in, out  *half
	opener   bool
	shown    bool // the acceptor has it in its queue
	accepted bool
	released bool

	expired    bool
	timer      *time.Timer
	generation int // of the deadline: a timer that fires late sees that it is not its own
}

func (st *memoryStream) lock()   { st.session.link.mu.Lock() }
func (st *memoryStream) unlock() { st.session.link.mu.Unlock() }

// readErr says why nothing can be read any more, or nil.
func (st *memoryStream) readErr() error {
	switch {
	case st.session.err != nil:
		return st.session.err
	case st.in.rerr != nil:
		return st.in.rerr
	case st.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (st *memoryStream) Read(p []byte) (int, error) {
	for {
		st.lock()
		if err := st.readErr(); err != nil {
			st.unlock()
			return 0, err
		}
		n := st.in.take(p)
		fin := st.in.fin
		st.unlock()
		switch {
		case n > 0 || len(p) == 0:
			return n, nil
		case fin:
			return 0, io.EOF
		}
		<-st.in.canRead
	}
}

func (st *memoryStream) ReadFull(p []byte) (int, error) {
	st.lock()
	defer st.unlock()
	if st.in.post != nil {
		return 0, errConcurrent
	}
	if len(p) == 0 {
		return 0, st.readErr()
	}
	if err := st.readErr(); err != nil {
		return 0, err
	}
	st.in.post = p[st.in.take(p):]
	nudge(st.in.canWrite)
	defer func() { st.in.post = nil }()
	for {
		n := len(p) - len(st.in.post)
		if n == len(p) {
			return n, nil
		}
		if err := st.readErr(); err != nil {
			return n, err
		}
		if st.in.fin {
			if n == 0 {
				return 0, io.EOF
			}
			return n, io.ErrUnexpectedEOF
		}
		st.unlock()
		<-st.in.canRead
		st.lock()
	}
}

func (st *memoryStream) writeErr() error {
	switch {
	case st.session.err != nil:
		return st.session.err
	case st.out.werr != nil:
		return st.out.werr
	case st.out.fin:
		return errStreamClosed
	case st.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (st *memoryStream) Write(p []byte) (int, error) {
	st.lock()
	defer st.unlock()
	written := 0
	for {
		if err := st.writeErr(); err != nil {
			return written, err
		}
		st.show()
		written += st.out.put(p[written:])
		if written == len(p) {
			return written, nil
		}
		st.unlock()
		<-st.out.canWrite
		st.lock()
	}
}

// show hands a stream to the acceptor when its opener first writes.
func (st *memoryStream) show() {
	if !st.opener || st.shown {
		return
	}
	st.shown = true
	st.session.peer.incoming <- st.peer // has room: the slots bound it
}

func (st *memoryStream) ReadFrom(r io.Reader) (int64, error) {
	buf := make([]byte, 32<<10)
	var sent int64
	for {
		n, rerr := r.Read(buf)
		if n > 0 {
			w, err := st.Write(buf[:n])
			sent += int64(w)
			if err != nil {
				return sent, err
			}
		}
		if rerr == io.EOF {
			return sent, nil
		}
		if rerr != nil {
			return sent, rerr
		}
	}
}

func (st *memoryStream) CloseWrite() error {
	st.lock()
	defer st.unlock()
	if st.out.fin {
		return nil
	}
	if st.session.err != nil {
		return st.session.err
	}
	if st.out.werr != nil {
		return st.out.werr
	}
	st.finish()
	return nil
}

func (st *memoryStream) finish() {
	st.show()
	st.out.fin = true
	st.out.poke()
	st.releaseLocked()
}

func (st *memoryStream) Close() error {
	st.lock()
	defer st.unlock()
	st.stopTimer()
	if st.session.err != nil || st.in.rerr != nil {
		return nil
	}
	if !st.out.fin && st.out.werr == nil {
		st.finish()
	}
	st.in.rerr, st.in.unread = errStreamClosed, nil
	if st.in.werr == nil {
		st.in.werr = &transport.AbortError{Remote: true}
	}
	st.in.poke()
	st.releaseLocked()
	return nil
}

func (st *memoryStream) Abort(code transport.Code) {
	st.lock()
	defer st.unlock()
	st.stopTimer()
	if st.session.err != nil || st.in.rerr != nil {
		return
	}
	here, there := &transport.AbortError{Code: code}, &transport.AbortError{Code: code, Remote: true}
	st.in.rerr, st.out.werr = here, here
	st.in.unread = nil
	if st.in.werr == nil {
		st.in.werr = there
	}
	if st.out.rerr == nil {
		st.out.rerr, st.out.unread = there, nil
	}
	st.in.poke()
	st.out.poke()
	st.releaseLocked()
}

// releaseLocked frees the opener's slot once both directions are over and the
// acceptor has taken the stream out of its queue.
func (st *memoryStream) releaseLocked() {
	if !st.opener {
		st = st.peer
	}
	over := func(h *half) bool { return h.fin || h.werr != nil }
	if st.released || !over(st.in) || !over(st.out) || st.shown && !st.peer.accepted {
		return
	}
	st.released = true
	delete(st.session.link.streams, st)
	delete(st.session.link.streams, st.peer)
	<-st.session.slots
}

func (st *memoryStream) SetDeadline(t time.Time) error {
	st.lock()
	defer st.unlock()
	if st.session.err != nil {
		return st.session.err
	}
	st.stopTimer()
	st.expired = false
	if t.IsZero() {
		return nil
	}
	if d := time.Until(t); d > 0 {
		mine := st.generation
		st.timer = time.AfterFunc(d, func() {
			st.lock()
			defer st.unlock()
			if st.generation == mine {
				st.expire()
			}
		})
		return nil
	}
	st.expire()
	return nil
}

func (st *memoryStream) expire() {
	st.expired = true
	st.in.poke()
	st.out.poke()
}

func (st *memoryStream) stopTimer() {
	st.generation++
	if st.timer != nil {
		st.timer.Stop()
		st.timer = nil
	}
}
