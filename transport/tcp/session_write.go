package tcp

import (
	"net"
	"slices"
	"sync"
	"time"
	"unsafe"
)

// buffer is copiedPayload bytes that begin on a page: the kernel copies to and
// from them a quarter faster than to and from odd places.
type buffer struct{ bytes []byte }

const pageSize = 4096

var buffers = sync.Pool{New: func() any {
	b := make([]byte, copiedPayload+pageSize)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageSize
	return &buffer{b[skip:][:copiedPayload:copiedPayload]}
}}

// transmit is the state of the write side; it belongs to its owner.
type transmit struct {
	s      *session
	out    []byte // frames, or the rest of one, that must leave before anything else
	broken bool   // a frame was cut short: nothing more can be framed
	vec    [2][]byte
	bufs   net.Buffers
	file   fileSender
}

func (t *transmit) init(s *session) {
	t.s = s
	t.file.init(s)
}

// keepOut bounds what the write side keeps of its buffer between frames.
const keepOut = 64 << 10

// write sends out and then payload. It returns when the kernel has both.
func (t *transmit) write(payload []byte) error {
	var err error
	if t.s.tls != nil {
		err = t.s.tls.writeFrame(t.out, payload)
	} else if len(payload) == 0 {
		_, err = t.s.conn.Write(t.out)
	} else {
		t.vec = [2][]byte{t.out, payload}
		t.bufs = t.vec[:]
		_, err = t.bufs.WriteTo(t.s.conn)
		t.vec = [2][]byte{}
	}
	t.sent(len(t.out))
	t.broken = t.broken || err != nil
	return err
}

// sent drops the first n bytes of out.
func (t *transmit) sent(n int) {
	if n == len(t.out) && cap(t.out) > keepOut {
		t.out = nil
		return
	}
	t.out = t.out[:copy(t.out, t.out[n:])]
}

// takeControl moves the control frames that wait in front of what the owner
// of the write side is about to send. Called with mu held.
func (s *session) takeControl() {
	s.tx.out = append(s.tx.out, s.control...)
	s.control = s.control[:0]
	// Once in many frames: the deadline lies between half of it and all of it
	// ahead.
	if now := time.Now(); s.ended.Load() == nil && s.stallAt.Sub(now) < s.stall/2 {
		s.stallAt = now.Add(s.stall)
		_ = s.conn.SetWriteDeadline(s.stallAt) // fails only when the connection is gone
	}
}

// queue adds a control frame, to be sent by flush. Called with mu held.
func (s *session) queue(h header) {
	s.control = h.append(s.control)
}

// flush sees to it that queued control frames leave, without waiting: now,
// when the write side is free, else with its owner's next step. Called with
// mu held.
func (s *session) flush() {
	if len(s.control) > maxControl {
		s.failLocked(ErrControl)
		return
	}
	if !s.writing && len(s.control) > 0 {
		s.writing = true
		s.release()
	}
}

// release gives the write side up, to the next in line. With nobody in line
// it sends the control frames that have come in meanwhile. Called with mu
// held, which it releases while it sends.
func (s *session) release() {
	for {
		if len(s.waiting) > 0 {
			turn := s.waiting[0]
			s.waiting = slices.Delete(s.waiting, 0, 1)
			turn <- struct{}{} // has room for it
			return
		}
		if len(s.control) == 0 && len(s.tx.out) == 0 || s.ended.Load() != nil {
			s.writing = false
			return
		}
		s.takeControl()
		s.mu.Unlock()
		all := s.tx.try()
		s.mu.Lock()
		if !all && s.ended.Load() == nil { // so Abort has not begun to wait
			s.tasks.Add(1)
			go s.flusher()
			return
		}
	}
}

// flusher owns the write side until the socket has taken what was left over.
func (s *session) flusher() {
	defer s.tasks.Done()
	if err := s.tx.write(nil); err != nil {
		s.fail(err)
	}
	s.mu.Lock()
	s.release()
	s.mu.Unlock()
}

// leave takes a turn out of the line. It reports false when the turn has come
// already: then the caller owns the write side. Called with mu held.
func (s *session) leave(turn chan struct{}) bool {
	i := slices.Index(s.waiting, turn)
	if i < 0 {
		<-turn // was sent under mu
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return true
}
