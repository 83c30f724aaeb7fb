package tcp

import (
	"errors"
	"io"
	"os"
)

// writeErr says why nothing can be sent any more. Called with the session's
// mutex held.
func (st *stream) writeErr() error {
	switch err := st.s.Err(); {
	case err != nil:
		return err
	case st.werr != nil:
		return st.werr
	case st.finSent || st.closed:
		return errStreamClosed
	case st.expired.Load():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// begin gives a stream its ID with its opener's first frame, so that the IDs
// on the wire rise. It returns the flags of that frame. Called with the
// session's mutex held.
func (st *stream) begin() uint8 {
	if st.id != 0 {
		return 0
	}
	s := st.s
	st.id = s.nextOwn
	s.nextOwn += 2
	s.streams[st.id] = st
	return flagOpen
}

// keepPromise sends the credit that was granted before the peer could know
// the stream. Called with the session's mutex held.
func (st *stream) keepPromise() {
	if st.promised > 0 {
		st.s.queue(header{typ: frameCredit, value: st.promised, id: st.id})
		st.promised = 0
	}
}

// beginFrame waits for credit and for the write side. With a nil error the
// caller owns the write side, whose output ends with the header of a frame of
// n bytes, from 1 to want; it must send them and call endFrame.
func (st *stream) beginFrame(want int) (n int, err error) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := st.writeErr(); err != nil {
			return 0, err
		}
		if st.credit > 0 {
			break
		}
		s.mu.Unlock()
		select {
		case <-st.canWrite:
		case <-s.done:
		}
		s.mu.Lock()
	}
	if !s.writing {
		s.writing = true
	} else if err := st.awaitTurn(); err != nil {
		return 0, err
	}
	n = int(min(int64(want), st.credit, maxPayload))
	st.credit -= int64(n)
	s.takeControl()
	s.tx.out = header{typ: frameData, flags: st.begin(), value: uint32(n), id: st.id}.append(s.tx.out)
	st.keepPromise()
	return n, nil
}

// awaitTurn waits in line for the write side. Called with the session's mutex
// held, which it releases while it waits.
func (st *stream) awaitTurn() error {
	s := st.s
	s.waiting = append(s.waiting, st.turn)
	for {
		mine := false
		s.mu.Unlock()
		select {
		case <-st.turn:
			mine = true
		case <-st.canWrite:
		case <-s.done:
		}
		s.mu.Lock()
		err := st.writeErr()
		if err != nil && (mine || !s.leave(st.turn)) {
			s.release()
		}
		if mine || err != nil {
			return err
		}
	}
}

// endFrame gives the write side back after a frame was sent, or failed to be.
func (s *session) endFrame(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failLocked(err)
		err = s.Err()
	}
	s.release()
	return err
}

func (st *stream) Write(p []byte) (int, error) {
	st.sending.Lock()
	defer st.sending.Unlock()
	return st.write(p)
}

// joinPayload is the longest payload that is copied behind its header, which
// is cheaper than handing two pieces of memory to the kernel.
const joinPayload = 4 << 10

func (st *stream) write(p []byte) (int, error) {
	s := st.s
	if len(p) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return 0, st.writeErr()
	}
	for sent := 0; ; {
		n, err := st.beginFrame(min(len(p)-sent, copiedPayload))
		if err != nil {
			return sent, err
		}
		if n <= joinPayload {
			s.tx.out = append(s.tx.out, p[sent:sent+n]...)
			err = s.tx.write(nil)
		} else {
			err = s.tx.write(p[sent : sent+n])
		}
		if err := s.endFrame(err); err != nil {
			return sent, err
		}
		if sent += n; sent == len(p) {
			return sent, nil
		}
	}
}

func (st *stream) ReadFrom(r io.Reader) (int64, error) {
	st.sending.Lock()
	defer st.sending.Unlock()
	var sent int64
	if section, ok := r.(*io.SectionReader); ok {
		n, err := st.sendSection(section)
		if !errors.Is(err, errNoSendfile) {
			return n, err
		}
		sent = n
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	for {
		n, rerr := r.Read(buf.bytes)
		if n > 0 {
			w, err := st.write(buf.bytes[:n])
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

// errNoSendfile says that the bytes must be copied through user space.
var errNoSendfile = errors.New("no sendfile for this file")
