// Package quic carries sessions over QUIC (RFC 9000): one connection per peer,
// one QUIC stream per stream, TLS 1.3 inside. It owns the UDP sockets, the
// settings of the QUIC connection and the translation of QUIC's errors; the
// protocol itself is that of github.com/quic-go/quic-go.
//
// Both ends prove who they are, as package identity says.
//
// A dialled session has a UDP socket of its own, which goes with it. Accepted
// sessions share the socket of their listener, which stays bound until the
// listener is closed and the last of them has ended.
package quic

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// Scheme names this transport in addresses.
const Scheme = "quic"

// alpn names the protocol in the TLS handshake (RFC 7301). A peer that speaks
// another one is refused there.
const alpn = "mtor/1"

const (
	// DefaultIdleTimeout is how long a session lives without a packet from
	// its peer. Pings flow three times as often, so that a session dies of
	// three losses in a row or of a peer that has vanished, and never of
	// having nothing to say. It also is well under the 30 s for which
	// middleboxes keep a UDP binding.
	DefaultIdleTimeout = 15 * time.Second
	pingsPerTimeout    = 3

	// handshakeSilence ends a handshake in which the peer says nothing; twice
	// that ends any handshake.
	handshakeSilence = 5 * time.Second
)

// Flow-control windows in bytes. A session begins with connectionWindow, which a
// peer can fill with what nobody reads. It grows while what comes is read faster
// than the window lets it come, up to connectionWindowMax, and what all sessions
// of a carrier have grown by stays within transport.UnreadBudget; then a session
// goes on with what it has. A stream's window follows in the same way. It begins
// with a piece, which then needs no more than one round trip on a long line, and
// with a sixth, so that a few streams that nobody reads hold up no others.
const (
	streamWindow        = connectionWindow / 6
	streamWindowMax     = connectionWindowMax / 8
	connectionWindow    = 3 << 20
	connectionWindowMax = 16 << 20
)

// Options are the settings of the transport. The zero value works.
type Options struct {
	// LocalIP is the address to dial from. The zero value leaves the choice
	// to the system.
	LocalIP netip.Addr
	// Credentials are what this node proves itself with. Without them New makes
	// some.
	Credentials *identity.Credentials
	// IdleTimeout is how long a session lives without a packet from its peer;
	// of the two sides' values the smaller one counts. Zero means
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration
	// Refused hears of each handshake that a listener refused: from several
	// goroutines, and not after the listener's Close. Nil: nobody does.
	Refused func(transport.Refusal)
	// Log is told, once, when the system grants smaller UDP buffers than
	// wanted, which costs throughput and is no error. Nil means silence.
	Log *slog.Logger
}

// carrier is the state behind one row of the transport table.
type carrier struct {
	localIP netip.Addr
	server  *tls.Config
	client  *tls.Config
	config  *quicgo.Config
	buffers int // bytes wanted in each direction of a socket
	refused func(transport.Refusal)
	log     *slog.Logger
	clamped sync.Once // guards the log line about small buffers
	grown   *transport.Budget
}

// New returns the transport "quic".
//
// It sets QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING in the environment, unless it
// is set already: quic-go would write its own line about small UDP buffers to
// the standard logger, and has no other switch for it.
func New(o Options) (transport.Transport, error) {
	c, err := newCarrier(o)
	if err != nil {
		return transport.Transport{}, fmt.Errorf("quic: %w", err)
	}
	return transport.Transport{Scheme: Scheme, Proves: true, Dial: c.dial, Listen: c.listen}, nil
}

func newCarrier(o Options) (*carrier, error) {
	if o.Credentials == nil {
		o.Credentials = identity.Ephemeral()
	}
	if o.IdleTimeout < 0 {
		return nil, fmt.Errorf("idle timeout %v is negative", o.IdleTimeout)
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := silenceBufferWarning(); err != nil {
		return nil, err
	}
	grown := transport.NewBudget(transport.UnreadBudget)
	return &carrier{
		localIP: o.LocalIP.Unmap(),
		server:  o.Credentials.Server(alpn),
		client:  o.Credentials.Client(alpn),
		config: &quicgo.Config{
			HandshakeIdleTimeout:           handshakeSilence,
			MaxIdleTimeout:                 o.IdleTimeout,
			KeepAlivePeriod:                o.IdleTimeout / pingsPerTimeout,
			InitialStreamReceiveWindow:     streamWindow,
			MaxStreamReceiveWindow:         streamWindowMax,
			InitialConnectionReceiveWindow: connectionWindow,
			MaxConnectionReceiveWindow:     connectionWindowMax,
			AllowConnectionWindowIncrease: func(conn *quicgo.Conn, delta uint64) bool {
				if !grown.TryTake(int64(delta)) {
					return false
				}
				context.AfterFunc(conn.Context(), func() { grown.Give(int64(delta)) })
				return true
			},
			MaxIncomingStreams:    transport.MaxStreams,
			MaxIncomingUniStreams: -1, // none: the protocol has two-way streams only
		},
		grown:   grown,
		buffers: bufferWanted,
		refused: o.Refused,
		log:     o.Log,
	}, nil
}

const bufferWarningSwitch = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"

func silenceBufferWarning() error {
	if _, ok := os.LookupEnv(bufferWarningSwitch); ok {
		return nil
	}
	return os.Setenv(bufferWarningSwitch, "true")
}
