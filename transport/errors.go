package transport

import (
	"errors"
	"fmt"
	"net"

	"github.com/mtor-dev/mtor/transport/identity"
)

// DialError says which address could not be reached over which transport.
type DialError struct {
	Scheme string
	Addr   string
	Err    error
}

func (e *DialError) Error() string { return fmt.Sprintf("dial %s://%s: %v", e.Scheme, e.Addr, e.Err) }
func (e *DialError) Unwrap() error { return e.Err }

// ErrOtherNode is why a dial ends at which another node answers than the one
// that was to be there.
var ErrOtherNode = errors.New("another node is there, by its key")

// Why nodes that were not given the same swarm key have no session. The first
// may come of a node of an open swarm too, which was told to speak TLS alone; the
// others are those of package identity.
var (
	ErrClear   = errors.New("the peer speaks only TLS and QUIC, as private swarms do: a swarm key is needed")
	ErrPrivate = identity.ErrPrivate
	ErrForeign = identity.ErrForeign
	ErrRefused = identity.ErrRefused
)

// WantsKey reports whether err, of a dial or a session, is one of these: the two
// nodes need the same swarm key, or neither one.
func WantsKey(err error) bool {
	return errors.Is(err, ErrClear) || errors.Is(err, ErrPrivate) || errors.Is(err, ErrForeign) || errors.Is(err, ErrRefused)
}

// AbortError is what a stream's methods return after either side aborted it.
type AbortError struct {
	Code   Code
	Remote bool // the peer aborted, not this side
}

func (e *AbortError) Error() string {
	return fmt.Sprintf("stream aborted by %s (code %d)", side(e.Remote), e.Code)
}

// SessionError is why a session ended. It is returned by the session's own
// methods and by those of its streams from then on.
type SessionError struct {
	Code   Code
	Remote bool  // the peer closed, not this side
	Err    error // the connection's failure; nil after an orderly Close or Abort
}

func (e *SessionError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("session lost: %v", e.Err)
	}
	return fmt.Sprintf("session closed by %s (code %d)", side(e.Remote), e.Code)
}

func (e *SessionError) Unwrap() error { return e.Err }

// Is makes every ended session match net.ErrClosed.
func (e *SessionError) Is(target error) bool { return target == net.ErrClosed }

func side(remote bool) string {
	if remote {
		return "the peer"
	}
	return "this side"
}
