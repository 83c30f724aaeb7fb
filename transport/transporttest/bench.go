package transporttest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/transport"
)

const (
	benchPiece  = 512 << 10
	benchPieces = 128 // in the file; it is read over and over
	benchWindow = 16
	askSize     = 32
)

// Benchmark moves pieces of 512 KiB the way a download does: a stream for
// each piece, 16 at once, a request of 32 bytes, the answer sent with
// ReadFrom from a section of a real file and received with ReadFull into
// page-aligned buffers that are used again. One operation is one piece.
func Benchmark(b *testing.B, tr transport.Transport) {
	f := benchFile(b)
	p := connect(b, tr)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	serving := later(func() error { return servePieces(ctx, p.accepted, f) })
	buffers := make(chan []byte, benchWindow)
	for range benchWindow {
		buffers <- alignedBuffer(benchPiece)
	}
	b.SetBytes(benchPiece)
	b.ReportAllocs()
	b.ResetTimer()
	var g errgroup.Group
	work := make(chan uint32)
	for range benchWindow {
		g.Go(func() error {
			for i := range work {
				buf := <-buffers
				if err := fetchPiece(ctx, p.dialled, i, buf); err != nil {
					return err
				}
				buffers <- buf
			}
			return nil
		})
	}
	cpu := cpuTime()
	for i := range b.N {
		work <- uint32(i % benchPieces)
	}
	close(work)
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	reportCPU(b, cpu)
	stop()
	if err := <-serving; err != nil {
		b.Fatalf("serving: %v", err)
	}
}

func fetchPiece(ctx context.Context, s transport.Session, i uint32, buf []byte) error {
	st, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	var ask [askSize]byte
	binary.BigEndian.PutUint32(ask[:], i)
	if _, err := st.Write(ask[:]); err != nil {
		return err
	}
	if err := st.CloseWrite(); err != nil {
		return err
	}
	if _, err := st.ReadFull(buf); err != nil {
		return err
	}
	if _, err := st.Read(ask[:]); err != io.EOF {
		return errors.New("more than a piece came")
	}
	return nil
}

func servePieces(ctx context.Context, s transport.Session, f *os.File) error {
	var g errgroup.Group
	for {
		st, err := s.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			defer st.Close()
			var ask [askSize]byte
			if _, err := st.ReadFull(ask[:]); err != nil {
				return err
			}
			off := int64(binary.BigEndian.Uint32(ask[:])) * benchPiece
			_, err := st.ReadFrom(io.NewSectionReader(f, off, benchPiece))
			return err
		})
	}
}

// BenchmarkBare is the limit to compare with: the same bytes from the same
// file over one bare TCP connection, with the copy that the kernel does best
// (sendfile where there is one) and reads into the same buffers.
func BenchmarkBare(b *testing.B) {
	f := benchFile(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	sending := later(func() error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		for i := range b.N {
			if _, err := f.Seek(int64(i%benchPieces)*benchPiece, io.SeekStart); err != nil {
				return err
			}
			if _, err := c.(*net.TCPConn).ReadFrom(io.LimitReader(f, benchPiece)); err != nil {
				return err
			}
		}
		return nil
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var buffers [benchWindow][]byte
	for i := range buffers {
		buffers[i] = alignedBuffer(benchPiece)
	}
	b.SetBytes(benchPiece)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for i := range b.N {
		if _, err := io.ReadFull(c, buffers[i%benchWindow]); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	reportCPU(b, cpu)
	if err := <-sending; err != nil {
		b.Fatal(err)
	}
}

func benchFile(b *testing.B) *os.File {
	b.Helper()
	path := filepath.Join(b.TempDir(), "pieces")
	if err := os.WriteFile(path, noise(1, benchPieces*benchPiece), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

// alignedBuffer is n bytes that begin on a page.
func alignedBuffer(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % page
	return b[skip:][:n:n]
}
