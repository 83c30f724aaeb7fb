package tcp

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// endReader reads the end of a frame and the next frame's header with one
// system call. It belongs to the read loop.
type endReader struct {
	vec [2][]byte
	n   int
	err error

	whenReady func(fd uintptr) bool // made once: a closure for each read would be garbage
}

func (e *endReader) init() {
	e.whenReady = func(fd uintptr) bool {
		for {
			n, err := unix.Readv(int(fd), e.vec[:])
			switch err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			case nil:
				if e.n = n; n == 0 {
					e.err = io.EOF
				}
			default:
				e.err = os.NewSyscallError("readv", err)
			}
			return true
		}
	}
}

// readEnd is like read for a p that ends with its frame. What it reads beyond
// goes to the empty read-ahead buffer, and is never more than a header.
func (s *session) readEnd(p []byte) (int, error) {
	if s.tls != nil {
		return s.read(p)
	}
	e, rx := &s.rx.end, &s.rx
	e.vec = [2][]byte{p, rx.buf[:headerSize]}
	e.n, e.err = 0, nil
	err := s.raw.Read(e.whenReady)
	e.vec = [2][]byte{}
	if err == nil {
		err = e.err
	}
	n, err := s.afterRead(e.n, err)
	if beyond := n - len(p); beyond > 0 {
		rx.r, rx.w = 0, beyond
		n = len(p)
	}
	return n, err
}
