package transport

import (
	"errors"
	"fmt"
	"net"
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
