package transport

import (
	"errors"
	"io"
	"net"

	"github.com/mtor-dev/mtor/transport/identity"
)

// Refusal is an incoming handshake that a listener did not let through.
type Refusal struct {
	// Scheme is the transport that was spoken, as far as that showed.
	Scheme string
	// From is where the stranger is. Over QUIC one that said no more than its
	// first word, and so ran into the timeout, may have forged it.
	From   net.Addr
	Reason Reason
	Err    error // the same in words
}

// Reason is why a handshake was refused: one of Reasons.
type Reason string

// The reasons.
const (
	// ReasonNoKey: it spoke in the clear where a key is asked for, or proved to
	// hold none.
	ReasonNoKey Reason = "no_key"
	// ReasonForeign: its certificate is not of this swarm.
	ReasonForeign Reason = "foreign"
	// ReasonExpired: its certificate is not valid now.
	ReasonExpired Reason = "expired"
	// ReasonBrokeOff: it took this node's certificate for that of a stranger.
	// A dialler judges first, so this is what most nodes come to that hold
	// another swarm key, or none.
	ReasonBrokeOff Reason = "broke_off"
	// ReasonProtocol: it speaks something else.
	ReasonProtocol Reason = "protocol"
	// ReasonTimeout: it did not come to the end of its handshake in time.
	ReasonTimeout Reason = "timeout"
	// ReasonBusy: there were too many at once.
	ReasonBusy Reason = "busy"
)

// Reasons are all that there are.
var Reasons = []Reason{
	ReasonNoKey, ReasonForeign, ReasonExpired, ReasonBrokeOff, ReasonProtocol, ReasonTimeout, ReasonBusy,
}

// ErrBusy is why a listener refuses whom it might have let in at another time.
var ErrBusy = errors.New("this node has too many handshakes at once")

// ReasonOf is the reason why an acceptor's handshake ended with err; empty when
// nobody was refused: the other end left, or this one closed.
func ReasonOf(err error) Reason {
	is := func(target error) bool { return errors.Is(err, target) }
	var wire net.Error
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case is(ErrBusy):
		return ReasonBusy
	case is(identity.ErrNoProof):
		return ReasonNoKey
	case is(identity.ErrForeign), is(identity.ErrPrivate):
		return ReasonForeign
	case is(identity.ErrExpired):
		return ReasonExpired
	case is(identity.ErrRefused):
		return ReasonBrokeOff
	case errors.As(err, &wire) && wire.Timeout():
		return ReasonTimeout
	case is(io.EOF), is(io.ErrUnexpectedEOF), is(net.ErrClosed):
		return ""
	case errors.As(err, &op) && op.Op != "local error": // which is an alert of crypto/tls
		return ""
	}
	return ReasonProtocol
}

// Tell has observe hear of a handshake that ended with err, if somebody was
// refused. Without an observer it does nothing.
func (r Refusal) Tell(observe func(Refusal)) {
	if r.Reason = ReasonOf(r.Err); r.Reason != "" && observe != nil {
		observe(r)
	}
}
