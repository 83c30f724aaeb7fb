package transporttest

import (
	"context"
	"crypto/tls"
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
	"github.com/mtor-dev/mtor/transport/identity"
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
	benchmarkBare(b, func(c *net.TCPConn) net.Conn { return c }, func(c *net.TCPConn) net.Conn { return c },
		func(c net.Conn, f *os.File, piece int64) error {
			if _, err := f.Seek(piece*benchPiece, io.SeekStart); err != nil {
				return err
			}
			_, err := c.(*net.TCPConn).ReadFrom(io.LimitReader(f, benchPiece))
			return err
		})
}

// BenchmarkBareTLS is the limit of what goes over TLS: the same with the
// standard library's TLS 1.3, and a page-aligned buffer that is filled from the
// file and written whole.
func BenchmarkBareTLS(b *testing.B) {
	creds := identity.Ephemeral()
	buf := alignedBuffer(bareWrite)
	benchmarkBare(b,
		func(c *net.TCPConn) net.Conn { return tls.Server(c, creds.Server("bare")) },
		func(c *net.TCPConn) net.Conn { return tls.Client(c, creds.Client("bare")) },
		func(c net.Conn, f *os.File, piece int64) error {
			for off := int64(0); off < benchPiece; off += bareWrite {
				if _, err := f.ReadAt(buf, piece*benchPiece+off); err != nil {
					return err
				}
				if _, err := c.Write(buf); err != nil {
					return err
				}
			}
			return nil
		})
}

// bareWrite is how much is written at once over bare TLS. Longer writes are no
// faster.
const bareWrite = 128 << 10

func benchmarkBare(b *testing.B, server, client func(*net.TCPConn) net.Conn, send func(c net.Conn, f *os.File, piece int64) error) {
	f := benchFile(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	sending := later(func() error {
		raw, err := l.Accept()
		if err != nil {
			return err
		}
		c := server(raw.(*net.TCPConn))
		defer c.Close()
		for i := range b.N {
			if err := send(c, f, int64(i%benchPieces)); err != nil {
				return err
			}
		}
		return nil
	})
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c := client(raw.(*net.TCPConn))
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
