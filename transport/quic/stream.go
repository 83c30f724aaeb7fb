package quic

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
)

// copyBuffer is how much ReadFrom hands to a stream at once: enough that the
// sender has a hundred packets to fill, little enough that a buffer per
// uploading stream is cheap.
const copyBuffer = 128 << 10

// copyBuffers holds *[copyBuffer]byte. The allocator places objects of this
// size on page boundaries, where the kernel copies from the page cache
// fastest.
var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// How this side has ended a stream; the first of Close and Abort counts.
const (
	open int32 = iota
	closed
	aborted
)

// stream is one bidirectional QUIC stream.
type stream struct {
	qs      *quicgo.Stream
	session *session
	ended   atomic.Int32                         // open, closed, aborted
	reset   atomic.Pointer[transport.AbortError] // the peer's abort, once Read has met it
	mine    atomic.Pointer[transport.AbortError] // this side's Abort
	// writing is held while data or its end are being written.
	writing sync.Mutex
}

func newStream(qs *quicgo.Stream, s *session) *stream { return &stream{qs: qs, session: s} }

func (st *stream) failure(err error) error {
	if reset := st.reset.Load(); reset != nil && isStreamError(err) {
		return reset
	}
	// The peer answers an abort with its own, which may be here before this
	// side has done its second half.
	if mine := st.mine.Load(); mine != nil && (isStreamError(err) || errors.Is(err, io.EOF)) {
		return mine // quic-go takes that answer for the end, when it is there before the reader has woken up
	}
	return streamError(err, st.ended.Load() == closed)
}

// readFailure is failure for the reading side. A peer resets its sending side
// only to abort the stream, and its STOP_SENDING for the other direction may
// be a packet behind; so the writing side is ended here too.
func (st *stream) readFailure(err error) error {
	failed := st.failure(err)
	if abort, ok := errors.AsType[*transport.AbortError](failed); ok && abort.Remote {
		if st.reset.CompareAndSwap(nil, abort) {
			st.qs.CancelWrite(quicgo.StreamErrorCode(abort.Code))
		}
	}
	return failed
}

// Read implements transport.Stream.
func (st *stream) Read(p []byte) (int, error) {
	n, err := st.qs.Read(p)
	if n > 0 {
		return n, nil // a lasting error comes again
	}
	return 0, st.readFailure(err)
}

// ReadFull implements transport.Stream.
func (st *stream) ReadFull(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := st.qs.Read(p[n:])
		n += m
		if err == nil || n == len(p) {
			continue
		}
		if err = st.readFailure(err); n > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	return n, nil
}

// Write implements transport.Stream.
func (st *stream) Write(p []byte) (int, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	n, err := st.qs.Write(p)
	return n, st.failure(err)
}

// ReadFrom implements transport.Stream. It copies through a buffer: QUIC
// encrypts in user space, so the bytes have to pass there.
func (st *stream) ReadFrom(r io.Reader) (int64, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	var total int64
	for {
		n, rerr := r.Read(buf[:])
		if n > 0 {
			m, werr := st.qs.Write(buf[:n])
			total += int64(m)
			if werr != nil {
				return total, st.failure(werr)
			}
		}
		if errors.Is(rerr, io.EOF) {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
	}
}

// CloseWrite implements transport.Stream.
func (st *stream) CloseWrite() error {
	st.writing.Lock()
	defer st.writing.Unlock()
	if err := st.session.Err(); err != nil {
		return err
	}
	if st.qs.Close() != nil {
		// The only failure is that either side has given up this direction,
		// which the context knows more about.
		return st.failure(context.Cause(st.qs.Context()))
	}
	return nil
}

// Close implements transport.Stream. When a write is under way in another
// goroutine, its direction is aborted with code 0, so that the peer cannot
// take the part for the whole.
func (st *stream) Close() error {
	if !st.ended.CompareAndSwap(open, closed) {
		return nil
	}
	if st.writing.TryLock() {
		_ = st.qs.Close() // fails only where nobody wants the rest any more
		st.writing.Unlock()
	} else {
		st.qs.CancelWrite(0)
	}
	st.qs.CancelRead(0)
	return nil
}

// Abort implements transport.Stream.
func (st *stream) Abort(code transport.Code) {
	if !st.ended.CompareAndSwap(open, aborted) {
		return
	}
	st.mine.Store(&transport.AbortError{Code: code})
	st.qs.CancelWrite(quicgo.StreamErrorCode(code))
	st.qs.CancelRead(quicgo.StreamErrorCode(code))
}

// SetDeadline implements transport.Stream.
func (st *stream) SetDeadline(t time.Time) error { return st.qs.SetDeadline(t) }
