package transporttest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/transport"
)

// soon is a deadline that must pass while nothing happens.
const soon = 50 * time.Millisecond

// mostWindow bounds what a writer may get rid of while nobody reads, over
// every carrier.
const mostWindow = 64 << 20

func setDeadline(t testing.TB, st transport.Stream, at time.Time) {
	t.Helper()
	if err := st.SetDeadline(at); err != nil {
		t.Fatalf("SetDeadline: %v", err)
	}
}

func testPastDeadline(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	setDeadline(t, near, time.Now().Add(-time.Second))
	_, err := near.Read(make([]byte, 1))
	wantDeadline(t, "Read", err)
	_, err = near.ReadFull(make([]byte, 1))
	wantDeadline(t, "ReadFull", err)
	_, err = near.Write(make([]byte, 1))
	wantDeadline(t, "Write", err)
	setDeadline(t, near, time.Time{})
	mustWrite(t, near, []byte("on"))
	mustRead(t, far, []byte("on"))
	mustClose(t, near)
	mustClose(t, far)
}

func testReadDeadline(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	setDeadline(t, near, time.Now().Add(soon))
	_, err := near.Read(make([]byte, 1))
	wantDeadline(t, "Read", err)

	setDeadline(t, near, time.Time{})
	reading := later(func() error { return readUntilError(near) })
	setDeadline(t, near, time.Now().Add(-time.Second)) // while it waits
	wantDeadline(t, "Read", wait(t, "the reader", reading))

	setDeadline(t, near, time.Now().Add(patience))
	mustWrite(t, far, []byte("on"))
	mustRead(t, near, []byte("on"))
	mustClose(t, near)
	mustClose(t, far)
}

func testReadFullDeadline(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	data := noise(3, 300<<10)
	mustWrite(t, far, data[:1000])
	got := make([]byte, len(data))
	setDeadline(t, near, time.Now().Add(soon))
	n, err := near.ReadFull(got)
	wantDeadline(t, "ReadFull", err)
	if n > 1000 {
		t.Fatalf("ReadFull: %d bytes; only 1000 were written", n)
	}
	setDeadline(t, near, time.Time{})
	sending := later(func() error { _, err := far.Write(data[1000:]); return err })
	if k, err := near.ReadFull(got[n:]); k != len(got)-n || err != nil {
		t.Fatalf("ReadFull: %d, %v", k, err)
	}
	if !bytes.Equal(got, data) {
		t.Fatal("bytes were lost or changed around the deadline")
	}
	if err := wait(t, "the writer", sending); err != nil {
		t.Fatal(err)
	}
	mustClose(t, near)
	mustClose(t, far)
}

// fill writes until the flow control holds st up, and returns how much went.
func fill(t testing.TB, st transport.Stream) int {
	t.Helper()
	setDeadline(t, st, time.Now().Add(2*soon))
	chunk := noise(4, 64<<10)
	total := 0
	for total < mostWindow {
		n, err := st.Write(chunk)
		total += n
		if err != nil {
			wantDeadline(t, "Write", err)
			setDeadline(t, st, time.Time{})
			return total
		}
	}
	t.Fatalf("nobody reads, and yet %d bytes could be written", total)
	return 0
}

func testWriteDeadline(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	total := fill(t, near)
	closing := later(near.CloseWrite)
	got, err := io.Copy(io.Discard, far)
	if err != nil || got != int64(total) {
		t.Fatalf("the reader got %d bytes (%v), the writer counted %d", got, err, total)
	}
	if err := wait(t, "CloseWrite", closing); err != nil {
		t.Fatalf("CloseWrite: %v", err)
	}
	mustClose(t, near)
	mustClose(t, far)
}

// testBufferLetGo takes a buffer back at a deadline while its bytes arrive,
// and watches that nothing is written to it afterwards and nothing is lost.
func testBufferLetGo(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	data := noise(5, 8<<20)
	sending := later(func() error { _, err := far.Write(data); return err })
	var got []byte
	const guard = 0xEE
	for i := 0; len(got) < len(data); i++ {
		// Every other time the deadline strikes somewhere within the buffer.
		at := time.Now().Add(time.Duration(i%7) * 200 * time.Microsecond)
		if i%2 == 0 {
			at = time.Time{}
		}
		setDeadline(t, near, at)
		buf := make([]byte, min(256<<10, len(data)-len(got)))
		n, err := near.ReadFull(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("ReadFull: %v", err)
		}
		got = append(got, buf[:n]...)
		if err == nil {
			continue
		}
		for j := range buf {
			buf[j] = guard
		}
		setDeadline(t, near, time.Time{})
		next := make([]byte, min(64<<10, len(data)-len(got)))
		if _, err := near.ReadFull(next); err != nil {
			t.Fatalf("ReadFull: %v", err)
		}
		got = append(got, next...)
		for j := range buf {
			if buf[j] != guard {
				t.Fatal("a buffer was written to after ReadFull had given it back")
			}
		}
	}
	if sum(got) != sum(data) {
		t.Fatal("bytes were lost or changed around a deadline")
	}
	if err := wait(t, "the writer", sending); err != nil {
		t.Fatal(err)
	}
	mustClose(t, near)
	mustClose(t, far)
}

func testSlowReader(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	var slow []transport.Stream
	var stuck [4]int
	for i := range stuck {
		near, far := stream(t, p.dialled, p.accepted)
		stuck[i] = fill(t, far) // and near does not read
		slow = append(slow, near, far)
	}
	var g errgroup.Group
	for i := range 3 {
		near, far := stream(t, p.dialled, p.accepted)
		data := noise(uint64(i), 4<<20)
		g.Go(func() error {
			if _, err := far.Write(data); err != nil {
				return err
			}
			return far.Close()
		})
		g.Go(func() error {
			got := make([]byte, len(data))
			if _, err := near.ReadFull(got); err != nil {
				return err
			}
			if !bytes.Equal(got, data) {
				return errors.New("bytes changed")
			}
			return near.Close()
		})
	}
	if err := wait(t, "the quick streams", later(g.Wait)); err != nil {
		t.Fatal(err)
	}
	for i, want := range stuck { // and the slow ones lost nothing
		near, far := slow[2*i], slow[2*i+1]
		mustCloseWrite(t, far)
		if n, err := io.Copy(io.Discard, near); n != int64(want) || err != nil {
			t.Fatalf("a slow stream gave %d of %d bytes: %v", n, want, err)
		}
		mustClose(t, near)
		mustClose(t, far)
	}
}

func testReadFull(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	data := noise(6, 5<<20+17)
	sending := later(func() error {
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+len(rest)/3)
			if _, err := far.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return far.CloseWrite()
	})
	for rest, i := data, 0; len(rest) > 0; i++ {
		n := min(len(rest), []int{1, 512 << 10, 4, 65536, 70000, 131072, 3}[i%7])
		mustRead(t, near, rest[:n])
		rest = rest[n:]
	}
	mustEOF(t, near)
	if err := wait(t, "the writer", sending); err != nil {
		t.Fatal(err)
	}
	mustClose(t, near)
	mustClose(t, far)
}

func testReadFullShort(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	for _, n := range []int{0, 1, 4096, 65536, 200 << 10} {
		near, far := stream(t, p.dialled, p.accepted)
		data := noise(uint64(n), n)
		sending := later(func() error {
			if _, err := far.Write(data); err != nil {
				return err
			}
			return far.Close()
		})
		got := make([]byte, 512<<10)
		k, err := near.ReadFull(got)
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if k != n || err != want {
			t.Fatalf("ReadFull of a stream of %d bytes: %d, %v; want %v", n, k, err, want)
		}
		if !bytes.Equal(got[:k], data) {
			t.Fatal("bytes changed")
		}
		if err := wait(t, "the writer", sending); err != nil {
			t.Fatal(err)
		}
		mustClose(t, near)
	}
}

func testPipelined(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	const n, size = 5000, 40
	var g errgroup.Group
	g.Go(func() error {
		for i := range n {
			if _, err := near.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				return err
			}
		}
		return near.CloseWrite()
	})
	g.Go(func() error {
		msg := make([]byte, size)
		for {
			if _, err := far.ReadFull(msg); err == io.EOF {
				return far.Close()
			} else if err != nil {
				return err
			}
			if _, err := far.Write(msg); err != nil {
				return err
			}
		}
	})
	for i := range n {
		mustRead(t, near, bytes.Repeat([]byte{byte(i)}, size))
	}
	mustEOF(t, near)
	if err := wait(t, "both writers", later(g.Wait)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, near)
}

func testLargeTransfer(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	const total = 32 << 20
	var g errgroup.Group
	for i, st := range []transport.Stream{near, far} {
		other := []transport.Stream{far, near}[i]
		data := noise(uint64(10+i), total)
		g.Go(func() error {
			if _, err := st.Write(data); err != nil {
				return err
			}
			return st.CloseWrite()
		})
		g.Go(func() error {
			h := sha256.New()
			n, err := io.Copy(h, other)
			if err != nil {
				return err
			}
			if n != total || [sha256.Size]byte(h.Sum(nil)) != sum(data) {
				return errors.New("the bytes arrived changed")
			}
			return nil
		})
	}
	if err := wait(t, "both directions", later(g.Wait)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, near)
	mustClose(t, far)
}
