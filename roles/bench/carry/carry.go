// Package carry measures how fast the pieces of a file get from one process to
// another, checked and written: over each of mtor's transports, and over the
// bare connection below it, which is the limit that the transport is held
// against.
//
// One process serves the file ([Server]), another fetches it again and again
// ([Measure]). Every piece that arrives is checked against its SHA-1 digest and
// written to a file; what differs is only how it gets there:
//
//   - a transport carries a stream for each piece, with so many in flight, as a
//     download does: a request of four bytes, the piece by ReadFrom from the
//     file, ReadFull into a page-aligned buffer; four of them are sent at once,
//     as many as a client sends to one peer;
//   - bare TCP is the whole file by sendfile(2) where there is one, read into
//     the same buffers, which two or more goroutines check and write;
//   - bare TLS is the same under the TLS 1.3 of the standard library, the file
//     read into a page-aligned buffer that is written whole;
//   - bare QUIC is the whole file over four long streams of one quic-go
//     connection with the windows that suit it best.
//
// # What the processes say to each other
//
// A TCP connection to the server's address begins with a line that says what
// it is for: "mtor-bench/1 control" or "mtor-bench/1 tcp". The latter gets the
// file. The former gets a JSON object, the [welcome], and then for each line
// "cpu" another, the [usage]. Bare QUIC has an ALPN of its own; each of its
// streams begins with the stream's number and gets every fourth piece.
package carry

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

const (
	greeting   = "mtor-bench/1 "
	forControl = "control"
	forBareTCP = "tcp"
	forBareTLS = "tls"
	askCPU     = "cpu"
	maxLine    = 64 // bytes of what the fetching side says

	// MaxSize bounds the file, so that the welcome, which holds a digest for
	// each piece, stays below maxWelcome.
	MaxSize    = 64 << 30
	maxWelcome = 8 << 20

	// MaxStreams is how many pieces are fetched at once at most, of all peers:
	// 32 MiB of buffers, as much as a client gives to a few peers.
	MaxStreams = 64

	// MaxKinds bounds the congestion controls that one server listens with.
	MaxKinds = 8

	// bareStreams is how many long streams bare QUIC has: enough that one that
	// waits for its window does not hold up the connection.
	bareStreams = 4
	bareALPN    = "mtor-bench/1"
	// bareTLSWrite is how much bare TLS writes at once: longer writes gain
	// nothing.
	bareTLSWrite = 64 << 10

	// dialTimeout bounds the way to a connection, pieceTimeout that of one
	// piece, roundTimeout that of the whole file.
	dialTimeout  = 10 * time.Second
	pieceTimeout = time.Minute
	roundTimeout = 10 * time.Minute
)

// workers is how many goroutines check and write.
func workers() int { return max(2, runtime.NumCPU()) }

// Machine describes this machine in a few words.
func Machine() string {
	return fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// CheckSize says whether a file of so many bytes can be used: whole pieces, up
// to MaxSize.
func CheckSize(size int64) error {
	if size < torrentfmt.PieceSize || size > MaxSize || size%torrentfmt.PieceSize != 0 {
		return fmt.Errorf("a size of %d bytes: want a multiple of 512 KiB, up to 64 GiB", size)
	}
	return nil
}

// Spread is what became of several rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf is the spread of values, at least one. The median of an even number
// is the mean of the two in the middle.
func SpreadOf(values []float64) Spread {
	v := slices.SortedFunc(slices.Values(values), cmp.Compare)
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

var errDigest = errors.New("does not match its digest")
