package wire

import (
	"fmt"
	"io"
)

// CodeError is an error that goes over the wire as a code: the reply's error,
// or the code of an aborted stream or session.
type CodeError struct {
	Code Error
	Msg  string
}

func (e *CodeError) Error() string {
	if e.Msg == "" {
		return e.Code.Words()
	}
	return e.Msg
}

// Errorf makes a CodeError.
func Errorf(code Error, format string, args ...any) *CodeError {
	return &CodeError{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Words says what an error code means, for people.
func (x Error) Words() string {
	switch x {
	case Error_ERROR_NONE:
		return "no error"
	case Error_ERROR_BAD_REQUEST:
		return "the request is malformed, or not allowed there"
	case Error_ERROR_VERSION:
		return "no common protocol version"
	case Error_ERROR_NOT_FOUND:
		return "not found there"
	case Error_ERROR_FOREIGN_ADDRESS:
		return "the address is not the one that the connection comes from"
	case Error_ERROR_NEED_HASHES:
		return "the hash string is needed"
	case Error_ERROR_NEED_LIST:
		return "the list of torrents is needed"
	case Error_ERROR_TOO_MANY:
		return "over a limit there"
	case Error_ERROR_GOING_AWAY:
		return "it quits"
	case Error_ERROR_DUPLICATE:
		return "another connection of this pair stays"
	case Error_ERROR_INTERNAL:
		return "it failed"
	case Error_ERROR_CANCELLED:
		return "no longer wanted"
	case Error_ERROR_BAD_PIECE:
		return "a piece had the wrong digest"
	case Error_ERROR_TIMEOUT:
		return "silent for too long"
	case Error_ERROR_FOREIGN_KEY:
		return "the address is listed as another node's"
	}
	return fmt.Sprintf("error %d", int32(x))
}

// Check refuses a hello that this side cannot go on with; the error is a
// [*CodeError].
func (x *Hello) Check() error {
	switch {
	case x.GetVersion() != Version:
		return Errorf(Error_ERROR_VERSION, "it speaks protocol version %d, this side %d", x.GetVersion(), Version)
	case len(x.GetNodeId()) != NodeIDSize:
		return Errorf(Error_ERROR_BAD_REQUEST, "node ID of %d bytes: want %d", len(x.GetNodeId()), NodeIDSize)
	case x.GetRole() != Role_ROLE_CLIENT && x.GetRole() != Role_ROLE_TRACKER:
		return Errorf(Error_ERROR_BAD_REQUEST, "role %d", x.GetRole())
	}
	return nil
}

// CheckProof refuses a hello of another node than the one that the session has
// proven the other side to be; zero if it proves nothing. The error is a
// [*CodeError].
func (x *Hello) CheckProof(proven [NodeIDSize]byte) error {
	if proven != [NodeIDSize]byte{} && string(x.GetNodeId()) != string(proven[:]) {
		return Errorf(Error_ERROR_BAD_REQUEST, "it claims to be node %x, and its key is that of %x", x.GetNodeId(), proven)
	}
	return nil
}

// ReadHello reads and checks the other side's hello.
func ReadHello(r io.Reader) (*Hello, error) {
	h := new(Hello)
	if err := NewReader(r).Next(h, MaxMessage); err != nil {
		return nil, err
	}
	return h, h.Check()
}
