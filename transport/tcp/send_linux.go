package tcp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// try sends what it can of out without waiting, and reports whether that was
// all.
func (t *transmit) try() bool {
	if t.s.tls != nil {
		return len(t.out) == 0 // there is no way into TLS that never waits
	}
	// The callback is made once, not for each call.
	if err := t.s.raw.Write(t.file.tryOnce); err != nil {
		return false // the flusher will find the same error and end the session
	}
	return len(t.out) == 0
}

// fileSender moves frames from a file to the socket without copying them
// through user space. It belongs to the owner of the write side.
type fileSender struct {
	s    *session
	in   int   // the file's descriptor
	off  int64 // where its next byte is
	left int   // of the frame
	err  error
	sent int64 // by sendfile(2), in all

	// Made once: a closure for each frame would be garbage.
	withFile  func(fd uintptr)
	whenReady func(fd uintptr) bool
	tryOnce   func(fd uintptr) bool
}

func (f *fileSender) init(s *session) {
	f.s = s
	f.withFile = func(fd uintptr) {
		f.in = int(fd)
		if err := s.raw.Write(f.whenReady); err != nil && f.err == nil {
			f.err = err
		}
	}
	f.whenReady = f.push
	f.tryOnce = func(fd uintptr) bool {
		_, _ = f.pushOut(int(fd), 0) // an error shows again at the next write
		return true
	}
}

// pushOut sends out. It reports false when the socket is full.
func (f *fileSender) pushOut(fd, flags int) (bool, error) {
	t := &f.s.tx
	for len(t.out) > 0 {
		n, err := unix.SendmsgN(fd, t.out, nil, nil, flags|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			t.sent(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false, nil
		default:
			return false, os.NewSyscallError("sendmsg", err)
		}
	}
	return true, nil
}

// push is called when the socket can take more. It reports whether the frame
// is done, or failed.
func (f *fileSender) push(fd uintptr) bool {
	// MSG_MORE: the header travels with the payload, not in a segment of its own.
	if ok, err := f.pushOut(int(fd), unix.MSG_MORE); !ok {
		f.err = err
		return err != nil
	}
	for f.left > 0 {
		n, err := unix.Sendfile(int(fd), f.in, &f.off, f.left)
		if n > 0 {
			f.left -= n
			f.sent += int64(n)
		}
		switch {
		case err == unix.EINTR || err == nil && n > 0:
		case err == unix.EAGAIN:
			return false
		case err == nil:
			f.err = ErrFileShrank
			return true
		case err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP:
			f.err = errNoSendfile
			return true
		default:
			f.err = os.NewSyscallError("sendfile", err)
			return true
		}
	}
	return true
}

// frame sends out and then n bytes of the file from off on.
func (f *fileSender) frame(file *os.File, raw syscall.RawConn, off int64, n int) error {
	f.off, f.left, f.err = off, n, nil
	err := raw.Control(f.withFile)
	if err == nil {
		err = f.err
	}
	if errors.Is(err, errNoSendfile) {
		err = f.copyRest(file)
	}
	f.s.tx.broken = f.s.tx.broken || err != nil
	return err
}

// copyRest ends a frame whose file system has no sendfile(2).
func (f *fileSender) copyRest(file *os.File) error {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	for f.left > 0 {
		part := buf.bytes[:min(f.left, copiedPayload)]
		if _, err := file.ReadAt(part, f.off); err == io.EOF {
			return ErrFileShrank
		} else if err != nil {
			return fmt.Errorf("read the file to send: %w", err)
		}
		if err := f.s.tx.write(part); err != nil {
			return err
		}
		f.off += int64(len(part))
		f.left -= len(part)
	}
	return nil
}

// sendSection sends what is left of a section of a regular file, and moves the
// section's position behind it. It returns errNoSendfile for any other section.
func (st *stream) sendSection(section *io.SectionReader) (int64, error) {
	if st.s.tls != nil {
		return 0, errNoSendfile
	}
	at, base, size := section.Outer()
	file, ok := at.(*os.File)
	if !ok {
		return 0, errNoSendfile
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, errNoSendfile // reading it brings the error
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, errNoSendfile
	}
	pos, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	end := info.Size() - base // a section may reach beyond its file
	if size < end {
		end = size
	}
	start := pos
	for pos < end && err == nil {
		var n int
		n, err = st.sendFileFrame(file, raw, base+pos, end-pos)
		pos += int64(n)
	}
	if _, serr := section.Seek(pos, io.SeekStart); err == nil {
		err = serr
	}
	return pos - start, err
}

func (st *stream) sendFileFrame(file *os.File, raw syscall.RawConn, off, want int64) (int, error) {
	n, err := st.beginFrame(int(min(want, maxPayload)))
	if err != nil {
		return 0, err
	}
	if err := st.s.endFrame(st.s.tx.file.frame(file, raw, off, n)); err != nil {
		return 0, err
	}
	return n, nil
}
