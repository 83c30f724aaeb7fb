package tcp

import (
	"io"
	"os"

	"github.com/mtor-dev/mtor/transport"
)

func (st *stream) Read(p []byte) (int, error) { return st.take(p, false) }

// maxPost is how much of a buffer is posted at once, so that its length fits
// a credit frame.
const maxPost = 1 << 30

func (st *stream) ReadFull(p []byte) (int, error) {
	done := 0
	for len(p)-done > maxPost {
		n, err := st.take(p[done:done+maxPost], true)
		if done += n; err != nil {
			return done, midEnd(done, err)
		}
	}
	n, err := st.take(p[done:], true)
	done += n
	return done, midEnd(done, err)
}

// midEnd is err, but for an end of the stream after n bytes of a buffer.
func midEnd(n int, err error) error {
	if err == io.EOF && n > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readErr says why nothing can be read any more. Called with mu held.
func (st *stream) readErr() error {
	if err := st.s.Err(); err != nil {
		return err
	}
	if st.rerr != nil {
		return st.rerr
	}
	if st.expired.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// take fills p with what has come, and posts what is still empty of it to the
// read loop: until p is full, or (not full) until something has come.
func (st *stream) take(p []byte, full bool) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.reading {
		return 0, errConcurrent
	}
	if err := st.readErr(); err != nil || len(p) == 0 {
		return 0, err
	}
	n := st.unread.read(p)
	if st.unread.n == 0 && !st.filling {
		st.unread.shrink()
		st.hold()
	}
	enough := n == len(p) || n > 0 && !full
	need := 0
	if !enough {
		if st.fin {
			return n, io.EOF
		}
		st.post, st.postN, st.postFull = p, n, full
		if full {
			need = len(p) - n
		}
	}
	grant := st.grant(need)
	if grant > 0 {
		st.reading = true
		st.mu.Unlock()
		st.sendCredit(uint32(grant))
		st.mu.Lock()
		st.reading = false
	}
	if enough {
		return n, nil
	}
	st.reading = true
	defer func() { st.reading = false }()
	return st.awaitPost(full)
}

// awaitPost waits until the posted buffer has what the reader wants, or will
// not get it. Called with mu held, which it releases while it waits.
func (st *stream) awaitPost(full bool) (int, error) {
	for {
		if st.post == nil {
			return st.postN, nil
		}
		err := st.readErr()
		if err != nil || st.fin {
			want := len(st.post)
			st.post = nil
			for st.lent { // the buffer is not the caller's yet
				st.s.kick()
				st.mu.Unlock()
				<-st.canRead
				st.mu.Lock()
			}
			switch n := st.postN; {
			case n == want || n > 0 && !full:
				return n, nil // the last read brought it
			case err != nil:
				return n, err
			default:
				return n, io.EOF
			}
		}
		st.mu.Unlock()
		select {
		case <-st.canRead:
		case <-st.s.done:
		}
		st.mu.Lock()
	}
}

// grant says how much credit the peer gets for a reader that wants need bytes
// more. What the peer may have under way, read or not, never exceeds
// transport.InitialCredit or what the reader has reserved. Small refills are
// saved up to half of it. Called with mu held.
func (st *stream) grant(need int) int64 {
	have := st.window + int64(st.unread.n)
	if st.fin || have >= int64(need) && have >= transport.InitialCredit/2 {
		return 0
	}
	g := max(int64(need), transport.InitialCredit) - have
	st.window += g
	return g
}

// sendCredit tells the peer of a grant.
func (st *stream) sendCredit(n uint32) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.forgotten || s.ended.Load() != nil {
		return
	}
	if st.id == 0 {
		st.promised += n
		return
	}
	s.queue(header{typ: frameCredit, value: n, id: st.id})
	s.flush()
}

// giveUpReading fails the receiving half. Called with the session's mutex
// held.
func (st *stream) giveUpReading(why error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.rerr != nil {
		return
	}
	st.rerr = why
	if !st.filling {
		st.unread.free()
	}
	st.unread = ring{}
	st.hold()
	nudge(st.canRead)
}

// hold brings the session's account in step with the memory of unread. Called
// with mu held.
func (st *stream) hold() {
	n := len(st.unread.buf)
	st.s.account.Add(n - st.held)
	st.held = n
}

// onFin is called with the session's mutex held.
func (st *stream) onFin() {
	st.recvOver = true
	st.mu.Lock()
	st.fin = true
	st.mu.Unlock()
	nudge(st.canRead)
	st.forgetIfOver()
}

// receive takes n bytes of payload off the connection: into the reader's
// buffer when one is posted, else into the stream's own. Only the read loop
// calls it.
func (st *stream) receive(n int) error {
	s := st.s
	st.mu.Lock()
	defer st.mu.Unlock()
	if int64(n) > st.window {
		return ErrCredit
	}
	st.window -= int64(n)
	if n <= smallFrame {
		st.mu.Unlock()
		err := s.need(n)
		st.mu.Lock()
		if err != nil {
			return err
		}
	}
	for n > 0 {
		if st.rerr != nil {
			st.mu.Unlock()
			err := s.discard(n)
			st.mu.Lock()
			return err
		}
		var k int
		var err error
		if st.post != nil {
			k, err = st.fillPost(n)
		} else {
			k, err = st.fillUnread(n)
		}
		if err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// fillPost reads once, straight into the posted buffer. Called with mu held,
// which it releases while it reads.
func (st *stream) fillPost(n int) (int, error) {
	dst := st.post[st.postN:]
	dst = dst[:min(n, len(dst))]
	st.lent = true
	st.mu.Unlock()
	k, err := st.s.next(dst, n)
	st.s.rx.direct += int64(k)
	st.mu.Lock()
	st.lent = false
	st.postN += k
	if st.post == nil { // the reader waits for its buffer
		nudge(st.canRead)
	} else {
		st.wakeIfServed(k)
	}
	return k, err
}

// wakeIfServed ends the reader's waiting when its buffer got k bytes and that
// is enough.
func (st *stream) wakeIfServed(k int) {
	if st.postN == len(st.post) || k > 0 && !st.postFull {
		st.post = nil
		nudge(st.canRead)
	}
}

// fillUnread reads once into the stream's own memory. Called with mu held,
// which it releases while it reads.
func (st *stream) fillUnread(n int) (int, error) {
	dst := st.unread.space(n)
	st.hold()
	st.filling = true
	st.mu.Unlock()
	k, err := st.s.next(dst, n)
	st.mu.Lock()
	st.filling = false
	if st.rerr != nil { // the memory has been let go
		return k, err
	}
	st.unread.added(k)
	if st.post != nil { // came meanwhile, and found less
		m := st.unread.read(st.post[st.postN:])
		st.postN += m
		st.wakeIfServed(m)
	}
	return k, err
}
