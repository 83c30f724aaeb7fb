package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/transport"
)

func testBothSidesOpen(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	for _, from := range []struct{ a, b transport.Session }{{p.dialled, p.accepted}, {p.accepted, p.dialled}} {
		near, far := stream(t, from.a, from.b)
		mustWrite(t, near, []byte("there"))
		mustRead(t, far, []byte("there"))
		mustWrite(t, far, []byte("back"))
		mustRead(t, near, []byte("back"))
		mustClose(t, near)
		mustClose(t, far)
	}
}

func testAcceptOrder(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	const n = 50
	for i := range n {
		st := open(t, p.dialled)
		mustWrite(t, st, []byte{byte(i)})
		defer mustClose(t, st)
	}
	for i := range n {
		st := accept(t, p.accepted)
		mustRead(t, st, []byte{byte(i)})
		mustClose(t, st)
	}
}

// echo answers every stream that s gets with what it says, until ctx ends.
func echo(ctx context.Context, s transport.Session) error {
	var g errgroup.Group
	for {
		st, err := s.Accept(ctx)
		if err != nil {
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			defer st.Close()
			all, err := io.ReadAll(st)
			if err != nil {
				return err
			}
			_, err = st.Write(all)
			return err
		})
	}
}

func ask(ctx context.Context, s transport.Session, question []byte) error {
	st, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if _, err := st.Write(question); err != nil {
		return err
	}
	if err := st.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(st)
	if err != nil {
		return err
	}
	if !bytes.Equal(answer, question) {
		return errors.New("the echo differs")
	}
	return nil
}

func testManyStreams(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	serving, stop := context.WithCancel(background(t))
	defer stop()
	servers := []<-chan error{
		later(func() error { return echo(serving, p.dialled) }),
		later(func() error { return echo(serving, p.accepted) }),
	}
	var g errgroup.Group
	for i := range 64 {
		question := noise(uint64(i), 1+i*997)
		for _, s := range []transport.Session{p.dialled, p.accepted} {
			g.Go(func() error {
				for range 5 {
					if err := ask(serving, s, question); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if err := wait(t, "the askers", later(g.Wait)); err != nil {
		t.Fatal(err)
	}
	stop()
	for _, s := range servers {
		if err := wait(t, "the server", s); err != nil {
			t.Fatalf("server: %v", err)
		}
	}
}

func testThousandStreams(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	const n = 1000
	var near, far [n]transport.Stream
	for i := range n {
		near[i] = open(t, p.dialled)
		mustWrite(t, near[i], binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	for range n {
		st := accept(t, p.accepted)
		var id [4]byte
		if _, err := st.ReadFull(id[:]); err != nil {
			t.Fatalf("ReadFull: %v", err)
		}
		far[binary.BigEndian.Uint32(id[:])] = st
	}
	for i := n - 1; i >= 0; i-- { // all of them are open now
		mustWrite(t, far[i], binary.BigEndian.AppendUint32(nil, uint32(i)))
		mustRead(t, near[i], binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	for i := range n {
		mustClose(t, near[i])
		mustClose(t, far[i])
	}
}

func testStreamLimit(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	var all [transport.MaxStreams]transport.Stream
	for i := range all {
		all[i] = open(t, p.dialled)
		mustWrite(t, all[i], []byte{1})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.dialled.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Open beyond the limit: %v; want to wait for the context", err)
	}
	one := accept(t, p.accepted)
	mustClose(t, all[0])
	mustClose(t, one)
	st := open(t, p.dialled)
	mustWrite(t, st, []byte{2})
	mustClose(t, st)
	for _, st := range all[1:] {
		mustClose(t, st)
	}
}

// testStreamsAreFreed opens more streams than may be open at once, one after
// the other, and ends them in every way.
func testStreamsAreFreed(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	ends := []func(near, far transport.Stream){
		func(near, far transport.Stream) { mustClose(t, near); mustClose(t, far) },
		func(near, far transport.Stream) { mustClose(t, far); mustClose(t, near) },
		func(near, far transport.Stream) { near.Abort(1); mustClose(t, far) },
		func(near, far transport.Stream) { far.Abort(1); mustClose(t, near) },
		func(near, far transport.Stream) { far.Abort(1); near.Abort(2) },
		func(near, far transport.Stream) {
			mustCloseWrite(t, near)
			mustEOF(t, far)
			mustCloseWrite(t, far)
			mustEOF(t, near)
			mustClose(t, near)
			mustClose(t, far)
		},
	}
	for i := range transport.MaxStreams + 200 {
		near := open(t, p.dialled)
		mustWrite(t, near, []byte{1})
		far := accept(t, p.accepted)
		mustRead(t, far, []byte{1})
		ends[i%len(ends)](near, far)
	}
}

func testHalfClose(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	mustWrite(t, near, []byte("the whole question"))
	mustCloseWrite(t, near)
	mustRead(t, far, []byte("the whole question"))
	mustEOF(t, far)
	mustEOF(t, far)
	if _, err := near.Write([]byte{1}); err == nil {
		t.Fatal("Write after CloseWrite succeeded")
	}
	answer := noise(1, 200<<10)
	done := later(func() error {
		if _, err := far.Write(answer); err != nil {
			return err
		}
		return far.CloseWrite()
	})
	mustRead(t, near, answer)
	mustEOF(t, near)
	if err := wait(t, "the answer", done); err != nil {
		t.Fatalf("answering: %v", err)
	}
	mustClose(t, near)
	mustClose(t, far)
}

func testEmptyStream(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near := open(t, p.dialled)
	mustCloseWrite(t, near)
	far := accept(t, p.accepted)
	mustEOF(t, far)
	if n, err := far.ReadFull(make([]byte, 8)); n != 0 || err != io.EOF {
		t.Fatalf("ReadFull of an empty stream: %d, %v; want 0, EOF", n, err)
	}
	mustClose(t, far)
	mustEOF(t, near)
	mustClose(t, near)
}

func testCloseDelivers(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	data := noise(2, 1<<20)
	done := later(func() error {
		if _, err := near.Write(data); err != nil {
			return err
		}
		return near.Close()
	})
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d of %d bytes: %v", len(got), len(data), err)
	}
	if err := wait(t, "the writer", done); err != nil {
		t.Fatal(err)
	}
	mustClose(t, far)
}

func testCloseStopsWriter(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	writing := later(func() error { return writeUntilError(far) })
	if _, err := near.ReadFull(make([]byte, 32<<10)); err != nil { // it writes
		t.Fatalf("ReadFull: %v", err)
	}
	mustClose(t, near)
	wantAbort(t, "Write to a closed stream", wait(t, "the writer", writing), 0, true)
	mustEOF(t, far) // the other direction ended well
	mustClose(t, far)
}

func testCloseTwice(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	mustClose(t, near)
	mustClose(t, near)
	near.Abort(5)
	if _, err := near.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Fatalf("Read after Close: %v", err)
	}
	if _, err := near.Write(make([]byte, 1)); err == nil {
		t.Fatal("Write after Close succeeded")
	}
	mustEOF(t, far) // and no abort
	far.Abort(6)
	far.Abort(7)
	mustClose(t, far)
	near, far = stream(t, p.dialled, p.accepted) // the session is none the worse
	mustClose(t, near)
	mustClose(t, far)
}

func testCloseUnblocks(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	reading := later(func() error { return readUntilError(near) })
	mustClose(t, near)
	if err := wait(t, "the reader", reading); err == nil || err == io.EOF {
		t.Fatalf("Read during Close: %v", err)
	}
	near2, far2 := stream(t, p.dialled, p.accepted)
	filling := later(func() error { _, err := near2.ReadFull(make([]byte, 1<<20)); return err })
	mustClose(t, near2)
	if err := wait(t, "the reader", filling); err == nil || err == io.EOF {
		t.Fatalf("ReadFull during Close: %v", err)
	}
	mustClose(t, far)
	mustClose(t, far2)
}

func testAbort(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	for _, code := range []transport.Code{0, 1, 77, transport.CodeLimit - 1} {
		near, far := stream(t, p.dialled, p.accepted)
		reading := later(func() error { return readUntilError(far) })
		near.Abort(code)
		wantAbort(t, "the peer's Read", wait(t, "the peer's reader", reading), code, true)
		_, err := far.Write([]byte{1})
		wantAbort(t, "the peer's Write", err, code, true)
		_, err = near.Read(make([]byte, 1))
		wantAbort(t, "Read", err, code, false)
		_, err = near.ReadFull(make([]byte, 1))
		wantAbort(t, "ReadFull", err, code, false)
		_, err = near.Write(make([]byte, 1))
		wantAbort(t, "Write", err, code, false)
		mustClose(t, near)
		mustClose(t, far)
	}
}

func testAbortWhilePeerWrites(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	writing := later(func() error { return writeUntilError(far) })
	if _, err := near.ReadFull(make([]byte, 300<<10)); err != nil { // it writes
		t.Fatalf("ReadFull: %v", err)
	}
	near.Abort(42)
	wantAbort(t, "the peer's Write", wait(t, "the peer's writer", writing), 42, true)
	_, err := far.Read(make([]byte, 1))
	wantAbort(t, "the peer's Read", err, 42, true)
	near, far = stream(t, p.dialled, p.accepted) // the framing held
	mustClose(t, near)
	mustClose(t, far)
}

func testAbortOwnSide(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	writing := later(func() error { return writeUntilError(near) })
	filling := later(func() error {
		for {
			if _, err := near.ReadFull(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	})
	sending := later(func() error { return writeUntilError(far) })
	if _, err := far.ReadFull(make([]byte, 100<<10)); err != nil { // both directions flow
		t.Fatalf("ReadFull: %v", err)
	}
	near.Abort(43)
	wantAbort(t, "Write", wait(t, "the writer", writing), 43, false)
	wantAbort(t, "ReadFull", wait(t, "the reader", filling), 43, false)
	wantAbort(t, "the peer's Write", wait(t, "the peer's writer", sending), 43, true)
	near, far = stream(t, p.dialled, p.accepted) // the framing held
	mustClose(t, near)
	mustClose(t, far)
}
