package tcp

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

const (
	// aheadSize is how much may be read ahead of what is needed while frames
	// are small: enough for dozens of pipelined requests in one system call.
	aheadSize = 4 << 10
	// smallFrame is the longest payload that goes through the read-ahead
	// buffer; copying it costs less than a system call of its own.
	smallFrame = 2 << 10
	// aheadAfter is how many small frames in a row start the reading ahead.
	// The end of a stream between two long frames is not the time: it would
	// pull the start of the next piece into the wrong buffer, and leave the
	// rest of it misaligned.
	aheadAfter = 3
	// maxCredit bounds what a peer may grant, so that the sum cannot overflow.
	maxCredit = 1 << 40
)

// receive is the state of the read loop.
type receive struct {
	buf   [aheadSize]byte
	r, w  int // buf[r:w] has been read ahead
	small int // small frames in a row

	end    endReader
	direct int64 // payload that went straight from the socket to a reader's buffer
}

var errSessionEnded = errors.New("session ended")

func (s *session) readLoop() {
	defer s.tasks.Done()
	err := s.readPreface()
	for err == nil {
		err = s.readFrame()
	}
	if s.Err() == nil {
		s.fail(err)
	}
	if e := s.ended.Load(); e.Err == nil && !e.Remote {
		s.drain()
	}
	if e := s.ended.Load(); e.Err != nil || e.Remote {
		_ = s.conn.Close() // frees whoever is in a system call
	}
}

func (s *session) readPreface() error {
	if !s.dialler || s.tls != nil {
		return nil // it has come already
	}
	limit := time.Now().Add(handshakeWait)
	for s.rx.w < len(preface) {
		if err := s.conn.SetReadDeadline(limit); err != nil {
			return err
		}
		if s.Err() != nil { // after the deadline was set: a kick is not lost
			return errSessionEnded
		}
		n, err := s.conn.Read(s.rx.buf[s.rx.w:len(preface)])
		s.rx.w += n
		if string(s.rx.buf[:s.rx.w]) != preface[:s.rx.w] {
			if s.rx.buf[0] == tlsAlert {
				return transport.ErrClear
			}
			return ErrNotMux
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(limit) {
			continue
		}
		if err != nil {
			return err
		}
	}
	s.rx.w = 0
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if s.Err() != nil {
		return errSessionEnded
	}
	return nil
}

// drain drops what arrives until the peer has closed, or closeWait has passed.
func (s *session) drain() {
	limit := time.Now().Add(closeWait)
	for {
		if err := s.conn.SetReadDeadline(limit); err != nil {
			return
		}
		_, err := s.conn.Read(s.rx.buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(limit) {
			continue // a kick that came late
		}
		if err != nil {
			return
		}
	}
}

// read reads at least one byte into p, or returns 0 and nil after a kick.
func (s *session) read(p []byte) (int, error) {
	return s.afterRead(s.in.Read(p))
}

// afterRead tells a kick from a failure.
func (s *session) afterRead(n int, err error) (int, error) {
	if err == nil || n > 0 {
		return n, nil
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	// Looked at after the deadline is gone, so that no kick is lost.
	if s.Err() != nil {
		return 0, errSessionEnded
	}
	return 0, nil
}

// need reads until n bytes (at most aheadSize) stand in the buffer.
func (s *session) need(n int) error {
	rx := &s.rx
	if rx.r == rx.w {
		rx.r, rx.w = 0, 0
	}
	if rx.r+n > len(rx.buf) {
		rx.w = copy(rx.buf[:], rx.buf[rx.r:rx.w])
		rx.r = 0
	}
	for rx.w-rx.r < n {
		end := rx.r + n
		if rx.small >= aheadAfter {
			end = len(rx.buf)
		}
		k, err := s.read(rx.buf[rx.w:end])
		if err != nil {
			return err
		}
		rx.w += k
	}
	return nil
}

// next reads into p, of the left bytes that are left of a frame's payload:
// first what was read ahead, then from the socket.
func (s *session) next(p []byte, left int) (int, error) {
	if rx := &s.rx; rx.r < rx.w {
		n := copy(p, rx.buf[rx.r:rx.w])
		rx.r += n
		return n, nil
	}
	if len(p) == left {
		return s.readEnd(p)
	}
	return s.read(p)
}

func (s *session) readFrame() error {
	if s.Err() != nil {
		return errSessionEnded
	}
	if err := s.need(headerSize); err != nil {
		return err
	}
	h, err := parseHeader(s.rx.buf[s.rx.r:])
	if err != nil {
		return err
	}
	s.rx.r += headerSize
	if h.typ != frameData || h.value <= smallFrame {
		s.rx.small++
	} else {
		s.rx.small = 0
	}
	switch h.typ {
	case frameData:
		return s.onData(h)
	case frameClose:
		s.mu.Lock()
		s.end(&transport.SessionError{Code: transport.Code(h.value), Remote: true})
		s.mu.Unlock()
		return errSessionEnded
	default:
		return s.onControl(h)
	}
}

// find returns the stream of a frame, or nil when it is over here. A frame
// for a stream that was never opened is an error. Called with mu held.
func (s *session) find(h header) (*stream, error) {
	if st := s.streams[h.id]; st != nil {
		return st, nil
	}
	next := s.nextPeer
	if s.isOwn(h.id) {
		next = s.nextOwn
	}
	if h.id >= next {
		return nil, fmt.Errorf("%w: stream %d was never opened", ErrFrame, h.id)
	}
	return nil, nil
}

func (s *session) isOwn(id uint64) bool { return (id&1 == 1) == s.dialler }

func (s *session) onControl(h header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.find(h)
	if st == nil {
		return err
	}
	code := transport.Code(h.value)
	switch h.typ {
	case frameCredit:
		if st.credit += int64(h.value); st.credit > maxCredit {
			return ErrFrame
		}
		nudge(st.canWrite)
	case frameStop:
		if st.werr == nil && !st.finSent {
			st.werr = &transport.AbortError{Code: code, Remote: true}
			nudge(st.canWrite)
		}
		st.sendOver = true
		st.forgetIfOver()
	case frameAbort:
		why := &transport.AbortError{Code: code, Remote: true}
		st.werr = why
		nudge(st.canWrite)
		st.giveUpReading(why)
		s.forget(st)
	}
	return nil
}

func (s *session) onData(h header) error {
	s.mu.Lock()
	if h.flags&flagOpen != 0 {
		if err := s.admit(h); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	st, err := s.find(h)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if st == nil {
		return s.discard(int(h.value))
	}
	if st.recvOver { // only this goroutine writes it
		return fmt.Errorf("%w: data behind the end of stream %d", ErrFrame, h.id)
	}
	if h.value > 0 {
		if err := st.receive(int(h.value)); err != nil {
			return err
		}
	}
	if h.flags&flagFin != 0 {
		s.mu.Lock()
		st.onFin()
		s.mu.Unlock()
	}
	return nil
}

// admit makes the stream that the peer opens. Called with mu held.
func (s *session) admit(h header) error {
	if s.isOwn(h.id) || h.id < s.nextPeer {
		return fmt.Errorf("%w: stream %d cannot be opened", ErrFrame, h.id)
	}
	if s.peerOpen >= transport.MaxStreams {
		return ErrStreams
	}
	s.nextPeer = h.id + 2
	if s.ended.Load() != nil {
		return errSessionEnded
	}
	st := newStream(s, false)
	st.id = h.id
	s.streams[h.id] = st
	s.peerOpen++
	st.queued = true
	s.incoming = append(s.incoming, st)
	nudge(s.acceptable)
	return nil
}

func (s *session) discard(n int) error {
	if n == 0 {
		return nil
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	for n > 0 {
		k, err := s.next(buf.bytes[:min(n, len(buf.bytes))], n)
		if err != nil {
			return err
		}
		n -= k
	}
	return nil
}
