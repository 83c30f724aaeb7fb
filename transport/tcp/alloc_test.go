package tcp

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/mtor-dev/mtor/transport"
)

// pieceCost is what fetching a piece costs both ends of a session together, in
// the way of a download: a stream, a request, the piece from a file by ReadFrom,
// ReadFull into a buffer that is used again.
type pieceCost struct{ mallocs, bytes float64 }

func costOfPieces(t *testing.T, size int) pieceCost {
	t.Helper()
	const pieces = 100
	path := filepath.Join(t.TempDir(), "pieces")
	if err := os.WriteFile(path, make([]byte, 2*size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	near, far := testPair(t)
	serving := later(func() error {
		for {
			st, err := far.Accept(t.Context())
			if err != nil {
				return nil // the fetcher has closed the session
			}
			if err := sendOne(st, f, int64(size)); err != nil {
				return err
			}
		}
	})
	buf := make([]byte, size)
	fetch := func(n int) {
		for i := range n {
			if err := fetchOne(t, near, uint32(i%2), buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	fetch(20) // pools, stacks and maps reach their size
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fetch(pieces)
	runtime.ReadMemStats(&after)
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-serving; err != nil {
		t.Fatal(err)
	}
	return pieceCost{
		mallocs: float64(after.Mallocs-before.Mallocs) / pieces,
		bytes:   float64(after.TotalAlloc-before.TotalAlloc) / pieces,
	}
}

func sendOne(st transport.Stream, f *os.File, size int64) error {
	defer st.Close()
	var ask [4]byte
	if _, err := st.ReadFull(ask[:]); err != nil {
		return err
	}
	_, err := st.ReadFrom(io.NewSectionReader(f, int64(binary.BigEndian.Uint32(ask[:]))*size, size))
	return err
}

func fetchOne(t *testing.T, s transport.Session, i uint32, buf []byte) error {
	st, err := s.Open(t.Context())
	if err != nil {
		return err
	}
	defer st.Close()
	var ask [4]byte
	binary.BigEndian.PutUint32(ask[:], i)
	if _, err := st.Write(ask[:]); err != nil {
		return err
	}
	_, err = st.ReadFull(buf)
	return err
}

// What a piece may cost: the two streams with their channels and timers, and what
// the test asks with. The bytes leave room for buffers of a pool that the
// collector has taken; the race detector takes more.
const (
	maxMallocs = 20
	maxBytes   = 32 << 10
)

func TestPieceCostsBothEndsAFewSmallAllocationsWhateverItsLength(t *testing.T) {
	for _, size := range []int{16 << 10, 512 << 10, 2 << 20} {
		c := costOfPieces(t, size)
		t.Logf("%d KiB: %.1f allocations of %.0f bytes in all", size>>10, c.mallocs, c.bytes)
		if c.mallocs > maxMallocs || c.bytes > maxBytes {
			t.Errorf("%d KiB: %.1f allocations of %.0f bytes in all, want at most %d of %d", size>>10, c.mallocs, c.bytes, maxMallocs, maxBytes)
		}
	}
}
