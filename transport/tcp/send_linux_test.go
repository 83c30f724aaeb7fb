package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// sendFrom sends what makes gives from a file, and returns how many of the
// bytes went by sendfile(2).
func sendFrom(t *testing.T, data []byte, make func(r *io.SectionReader) io.Reader) int64 {
	t.Helper()
	near, far := testPair(t)
	f := tempFile(t, data)
	st := open(t, near)
	const skip = 1000
	sending := later(func() error {
		n, err := st.ReadFrom(make(io.NewSectionReader(f, skip, int64(len(data)-skip))))
		if err == nil && n != int64(len(data)-skip) {
			err = errors.New("ReadFrom sent another length")
		}
		return errors.Join(err, st.Close())
	})
	got, err := io.ReadAll(accept(t, far))
	if err != nil || !bytes.Equal(got, data[skip:]) {
		t.Fatalf("got %d of %d bytes, or others: %v", len(got), len(data)-skip, err)
	}
	if err := wait(t, "ReadFrom", sending); err != nil {
		t.Fatal(err)
	}
	return near.tx.file.sent
}

func TestSectionOfAFileGoesBySendfile(t *testing.T) {
	data := pattern(pieceSize + 777)
	want := int64(len(data) - 1000)
	if got := sendFrom(t, data, func(r *io.SectionReader) io.Reader { return r }); got != want {
		t.Fatalf("%d of %d bytes went by sendfile", got, want)
	}
	// The counter tells: a wrapped section cannot go that way.
	wrapped := func(r *io.SectionReader) io.Reader { return struct{ io.Reader }{r} }
	if got := sendFrom(t, data, wrapped); got != 0 {
		t.Fatalf("%d bytes of a wrapped reader went by sendfile", got)
	}
}

// The first credit holds the sender up after 64 KiB, so the file shrinks
// behind its back for certain.
func TestFileThatShrinksEndsTheSession(t *testing.T) {
	near, far := testPair(t)
	f := tempFile(t, pattern(pieceSize))
	st := open(t, near)
	sending := later(func() error {
		_, err := st.ReadFrom(io.NewSectionReader(f, 0, pieceSize))
		return err
	})
	other := accept(t, far)
	eventually(t, "the first credit to be used up", func() bool {
		near.mu.Lock()
		defer near.mu.Unlock()
		return st.credit == 0 && !near.writing
	})
	if err := f.Truncate(100 << 10); err != nil {
		t.Fatal(err)
	}
	_, err := other.ReadFull(make([]byte, pieceSize))
	if !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the receiver got %v; want the session's end", err)
	}
	if err := wait(t, "ReadFrom", sending); !errors.Is(err, ErrFileShrank) {
		t.Fatalf("ReadFrom: %v; want ErrFileShrank", err)
	}
	wantEnd(t, near, ErrFileShrank)
}

func TestWritingSideMakesNoGarbagePerFrame(t *testing.T) {
	near, far := testPair(t)
	f := tempFile(t, pattern(1<<20))
	st := open(t, near)
	if _, err := st.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	other := accept(t, far)
	reading := later(func() error { _, err := io.Copy(io.Discard, other); return err })
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	frame := func() {
		if _, err := st.sendFileFrame(f, raw, 0, 4096); err != nil {
			t.Fatal(err)
		}
	}
	frame()
	if n := testing.AllocsPerRun(200, frame); n > 2 { // both ends and their readers together
		t.Fatalf("%.1f allocations for each frame", n)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, "the reader", reading); err != nil {
		t.Fatal(err)
	}
}
