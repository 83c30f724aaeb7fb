// Package transport carries many independent byte streams over one connection
// per peer. It owns the three interfaces that every carrier implements
// ([Listener], [Session], [Stream]), the typed errors they return, and the
// table that picks a carrier by the scheme of an address.
//
// A carrier is a row of type [Transport]: a plain value that the program puts
// into its table. Nothing registers itself.
//
// The contract written here is proven by the suite in
// transport/transporttest, which every carrier passes.
package transport

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/mtor-dev/mtor/transport/identity"
)

// Code says why a stream or a session ended. Transports carry it and give it
// no meaning; its values belong to the protocol above. Zero means an ordinary
// end.
type Code uint32

// CodeLimit bounds a Code, so that every carrier can encode it (QUIC variable
// integers and TCP mux frames both hold 30 bits and more).
const CodeLimit = 1 << 30

// Transport is one way to reach a peer: a row of the scheme table.
type Transport struct {
	// Scheme names the transport in addresses ("tcp", "tls", "quic").
	Scheme string
	// Proves says that both ends of its sessions prove who they are.
	Proves bool
	// Dial connects to "host:port". It returns once the connection can carry
	// streams, or with a [*DialError] when ctx ends first.
	Dial func(ctx context.Context, addr string) (Session, error)
	// Listen binds "host:port"; port 0 picks a free one.
	Listen func(ctx context.Context, addr string) (Listener, error)
}

// Listener accepts sessions on one bound address.
type Listener interface {
	// Accept returns the next session whose connection is established. It
	// fails with an error that matches net.ErrClosed after Close, and with
	// ctx's error when ctx ends. A peer that stalls in the handshake never
	// holds up another.
	Accept(ctx context.Context) (Session, error)
	// Addr is the bound address, with the real port.
	Addr() net.Addr
	// Close unbinds. Sessions already accepted live on. It waits for the
	// listener's own goroutines.
	Close() error
}

// Session is one connection to one peer, on which either side opens streams.
// All methods may be called at the same time from several goroutines.
type Session interface {
	// Open starts a stream. The peer sees it once its opener has written (or
	// half-closed) it. Open waits for ctx while the peer's limit on
	// concurrent streams is reached.
	Open(ctx context.Context) (Stream, error)
	// Accept returns the next stream that the peer opened, in the order of
	// opening.
	Accept(ctx context.Context) (Stream, error)
	// Scheme names the transport that carries the session.
	Scheme() string
	// Peer is the node at the other end, as it has proven by its key in the
	// handshake; zero over a transport that proves nothing (tcp).
	Peer() identity.ID
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	// Close ends the session with code 0. Every stream of it fails on both
	// sides; bytes not yet read by the peer may be lost. It frees the
	// connection and waits for the session's goroutines. Further calls do
	// nothing.
	Close() error
	// Abort is Close with a code, which the peer finds in its [*SessionError].
	Abort(code Code) error
	// Done is closed when the session has ended, for whatever reason.
	Done() <-chan struct{}
	// Err is nil until Done is closed, then a [*SessionError].
	Err() error
}

// Stream is one two-way exchange within a session. One goroutine may read
// while another writes; Abort, Close and SetDeadline may be called by any at
// any time.
//
// Flow control: a writer may be at most [InitialCredit] bytes ahead of what
// the reading side has taken, plus the length of the buffer that the reader
// has posted with ReadFull. So a slow reader never holds up other streams, and
// an idle stream costs its receiver a bounded amount of memory. (QUIC keeps
// its own windows, with the same effect.)
type Stream interface {
	// Read returns what has arrived, at least one byte. io.EOF after the
	// peer's CloseWrite, a [*AbortError] after its Abort.
	Read(p []byte) (int, error)
	// ReadFull fills p, which is reserved memory: the carrier may receive
	// straight into it. The peer is granted len(p) bytes when ReadFull is
	// called, so post the buffer right after the request is written. It
	// returns len(p) and nil, or fewer bytes and an error
	// (io.ErrUnexpectedEOF when the stream ended inside p, io.EOF when it
	// ended before its first byte). The carrier never touches p after
	// ReadFull has returned.
	ReadFull(p []byte) (int, error)
	// Write blocks until p is handed to the connection, or fails.
	Write(p []byte) (int, error)
	// ReadFrom sends r to its end. Given an unread *io.SectionReader over an
	// *os.File (its Outer method shows file, offset and length), a carrier
	// may send from the file without copying through user space; any wrapper
	// type loses that.
	ReadFrom(r io.Reader) (int64, error)
	// CloseWrite ends the sending side after what was written: the peer reads
	// io.EOF. It frees the sending side; reading goes on.
	CloseWrite() error
	// Close is CloseWrite and gives up reading: what arrives later is
	// dropped, and a peer that still writes is told to stop (code 0). It
	// frees the stream at this side. Close after Close or Abort does nothing.
	Close() error
	// Abort gives up both directions at once with a code. Bytes in flight are
	// dropped; the peer's Read and Write fail with an [*AbortError] that
	// carries the code. It frees the stream at this side.
	Abort(code Code)
	// SetDeadline bounds pending and future reads and writes, which then fail
	// with an error that matches os.ErrDeadlineExceeded. The zero time means
	// none.
	SetDeadline(t time.Time) error
}

// InitialCredit is how many unread bytes a new stream may hold at its
// receiver before the reader posts a larger buffer.
const InitialCredit = 64 << 10

// MaxStreams is how many streams the peer may have open on a session at once.
// A session whose peer opens more is closed (TCP) or the opener waits (QUIC).
const MaxStreams = 1024
