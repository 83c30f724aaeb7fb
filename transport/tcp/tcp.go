// Package tcp carries streams over one TCP connection per peer, in the clear
// or in TLS 1.3, with frames of its own. It owns the frames, the flow control and the shortest way of a
// piece through the machine: from the file to the socket by sendfile(2), and
// from the socket into the buffer that the reader has posted, with one copy.
//
// # On the wire
//
// Both ends begin with the eight bytes of the preface. Then come frames: a
// header of 16 bytes (type, flags, two zero bytes, a 32-bit value, a 64-bit
// stream ID, all big-endian), and behind a data header as many bytes as its
// value says, at most 128 KiB.
//
//	type       value            meaning
//	1 data     payload length   flag 1: opens the stream; flag 2: ends this direction
//	2 credit   bytes            the receiver of the stream takes so many more
//	3 stop     code             the receiver gave up reading; the sender shall stop
//	4 abort    code             both directions are over
//	5 close    code, ID 0       the session is over
//
// The dialler opens streams with odd IDs, the acceptor with even ones, each
// in rising order. A stream starts with 64 KiB of credit in both directions.
// Frames of a stream that the receiver has freed are dropped. Whoever breaks
// a rule loses the session.
//
// # With TLS
//
// A dialler that begins with the hello of a TLS handshake gets TLS 1.3 on the
// same port, and both prefaces come behind the handshake: the acceptor's tells
// the dialler that it was let in. A listener for TLS alone answers any other
// first byte with the alert certificate_required (RFC 8446, section 6.2).
package tcp

import (
	"errors"
	"net/netip"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// The names of the two transports in addresses.
const (
	Scheme    = "tcp" // in the clear
	SchemeTLS = "tls"
)

// alpn names the protocol in the TLS handshake (RFC 7301).
const alpn = "mtor/1"

const (
	// keepAlive is how long an idle connection stays silent before the
	// kernel probes the peer.
	keepAlive = 15 * time.Second
	// writeStall is how long a frame may take to leave. A peer whose kernel
	// takes less than 128 KiB in that time is as good as gone, and would hold
	// the memory of everything that waits for it.
	writeStall = 30 * time.Second
	// closeWait bounds how long Close tries to bring its code to the peer.
	closeWait = time.Second
	// handshakeWait is how long a new connection may take to say its preface.
	handshakeWait = 10 * time.Second
	// maxHandshakes is how many accepted connections may be without a preface
	// at once. Beyond it the oldest of the source that has most goes: an honest
	// peer's preface comes a round trip or two after its connection, so the
	// oldest are the silent ones.
	maxHandshakes = 256
	// lingerBytes is how much a refused peer may still say before it is cut off.
	lingerBytes = 64 << 10
	// acceptBacklog is how many connections with a preface may wait for
	// Accept; they cost a socket each, and no goroutine.
	acceptBacklog = 128
	// maxControl bounds the control frames that wait for the socket, in bytes.
	// Every stream that a peer may have open takes three at most when it is
	// freed (48 KiB in all), so only a peer that opens and never reads gets
	// there.
	maxControl = 256 << 10
)

// Errors that end a session, found inside its *transport.SessionError. Where the
// other end takes none in the clear, it is transport.ErrClear.
var (
	// ErrNotMux is returned when the other end speaks another protocol, or
	// another version of this one.
	ErrNotMux = errors.New("the peer does not speak this version of the stream protocol")
	// ErrFrame is returned when a frame breaks the rules of the package's doc.
	ErrFrame = errors.New("the peer sent a frame that breaks the stream protocol")
	// ErrCredit is returned when a peer sends more than it was granted.
	ErrCredit = errors.New("the peer sent beyond its credit")
	// ErrUnread is returned when a session holds more than any other of what
	// nobody reads, and all together more than transport.UnreadBudget.
	ErrUnread = errors.New("the peer sent too much that nobody reads")
	// ErrStreams is returned when a peer has more than transport.MaxStreams
	// streams open at once.
	ErrStreams = errors.New("the peer opened too many streams")
	// ErrControl is returned when a peer causes control frames and takes none.
	ErrControl = errors.New("the peer does not take its control frames")
	// ErrStalled is returned when a frame could not be sent for 30 s.
	ErrStalled = errors.New("the peer takes nothing")
	// ErrFileShrank is returned when a file became shorter than it was when
	// its bytes were announced to the peer.
	ErrFileShrank = errors.New("the file shrank while it was sent")
)

// Options chooses how sessions are made. The zero value is ready for use.
type Options struct {
	// LocalIP is the address to dial from. The zero value and the unspecified
	// addresses leave the choice to the kernel.
	LocalIP netip.Addr
	// Congestion is the congestion control of the sockets, by the kernel's
	// name for it ("bbr"); empty leaves the choice to the system. One that the
	// kernel lacks fails every Dial and Listen: ask CheckCongestion before.
	Congestion string
	// Credentials are what this node proves itself with over TLS. Without
	// them New listens for sessions in the clear alone, and NewTLS makes some.
	Credentials *identity.Credentials
	// Unread is the budget of what nobody reads, for all sessions of the rows
	// that are given it. Nil makes one for the row.
	Unread *transport.Budget
	// Refused hears of each handshake that a listener refused: from several
	// goroutines, and not after the listener's Close. Nil: nobody does.
	Refused func(transport.Refusal)

	halfOpen time.Duration // as handshakeWait, for a listener in tests; zero: that
}

// New returns the row of the transport table for TCP in the clear. What it
// listens on serves TLS too, if there are credentials.
//
// Dial returns as soon as the connection stands, without a round trip more;
// that the peer speaks the protocol shows when the first stream is read.
func New(o Options) transport.Transport {
	o.Unread = o.budget()
	return transport.Transport{Scheme: Scheme, Dial: o.dialPlain, Listen: o.listenBoth}
}

// NewTLS returns the row of the transport table for TLS over TCP. What it
// listens on serves nothing else.
//
// Dial returns when the peer has proven who it is, and has said that it takes
// this node.
func NewTLS(o Options) transport.Transport {
	if o.Credentials == nil {
		o.Credentials = identity.Ephemeral()
	}
	o.Unread = o.budget()
	return transport.Transport{Scheme: SchemeTLS, Proves: true, Dial: o.dialTLS, Listen: o.listenTLS}
}

// budget is the one of all sessions.
func (o Options) budget() *transport.Budget {
	if o.Unread == nil {
		return transport.NewBudget(transport.UnreadBudget)
	}
	return o.Unread
}
