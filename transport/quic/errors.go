package quic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// errStreamClosed is returned by a stream's methods after its own Close.
var errStreamClosed = fmt.Errorf("stream closed by this side: %w", net.ErrClosed)

// codeOf narrows a code from the wire, where QUIC allows 62 bits. What is out
// of range becomes CodeLimit, which no protocol gives a meaning.
func codeOf[C quicgo.StreamErrorCode | quicgo.ApplicationErrorCode](c C) transport.Code {
	return transport.Code(min(uint64(c), transport.CodeLimit))
}

// sessionError says in the transport's words why a QUIC connection ended:
//
//	CONNECTION_CLOSE by an application (RFC 9000, 19.19)  its code and side
//	CRYPTO_ERROR by the peer (RFC 9001, 4.8)              identity.ErrRefused
//	anything else (timeout, protocol error, socket)       Err
func sessionError(err error) *transport.SessionError {
	if app, ok := errors.AsType[*quicgo.ApplicationError](err); ok {
		return &transport.SessionError{Code: codeOf(app.ErrorCode), Remote: app.Remote}
	}
	if tr, ok := errors.AsType[*quicgo.TransportError](err); ok {
		return &transport.SessionError{Remote: tr.Remote, Err: refusal(err)}
	}
	return &transport.SessionError{Err: err}
}

// refusal says in plain words that either end broke the TLS handshake off
// (CRYPTO_ERROR; RFC 9001, section 4.8). What the alert is called depends on
// what it missed.
func refusal(err error) error {
	tr, ok := errors.AsType[*quicgo.TransportError](err)
	switch {
	case !ok || !tr.ErrorCode.IsCryptoError():
		return err
	case tr.Remote:
		return fmt.Errorf("%w (%w)", identity.ErrRefused, err)
	}
	for _, cause := range tr.Unwrap() {
		if cause != nil && cause != net.ErrClosed { //nolint:errorlint // the one that quic-go adds
			return cause // what this side did not like needs no number
		}
	}
	return err
}

// The alerts (RFC 8446, section 6.2) by which crypto/tls ends a handshake in which
// the other end shows no certificate, or one whose private key it does not hold.
const (
	cryptoError         = 0x100 // and the alert (RFC 9001, section 4.8)
	decryptError        = cryptoError + 51
	certificateRequired = cryptoError + 116
)

// knockError says in the words of [transport.ReasonOf] why an incoming handshake
// ended.
func knockError(err error) error {
	tr, ok := errors.AsType[*quicgo.TransportError](err)
	switch {
	case !ok || tr.Remote && !tr.ErrorCode.IsCryptoError():
		return err // it was silent, or has left
	case tr.ErrorCode == quicgo.ConnectionRefused:
		return transport.ErrBusy
	case tr.ErrorCode == decryptError, tr.ErrorCode == certificateRequired:
		if !tr.Remote {
			return fmt.Errorf("%w: %w", identity.ErrNoProof, refusal(err))
		}
	case !tr.ErrorCode.IsCryptoError():
		return fmt.Errorf("%w: %v", identity.ErrProtocol, err) //nolint:errorlint // it is net.ErrClosed to quic-go
	}
	return refusal(err)
}

// streamError says in the transport's words why a stream's method failed.
// closed tells that this side has called Close.
//
//	io.EOF, deadline                         as they are
//	RESET_STREAM, STOP_SENDING (RFC 9000, 3) AbortError, by the side that sent it
//	own Close                                errStreamClosed
//	anything else                            the session's end
func streamError(err error, closed bool) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if errors.Is(err, quicgo.ErrStreamClosed) {
		return errStreamClosed
	}
	if abort, ok := errors.AsType[*quicgo.StreamError](err); ok {
		if closed && !abort.Remote {
			return errStreamClosed
		}
		return &transport.AbortError{Code: codeOf(abort.ErrorCode), Remote: abort.Remote}
	}
	return sessionError(err)
}

func isStreamError(err error) bool {
	_, ok := errors.AsType[*quicgo.StreamError](err)
	return ok
}
