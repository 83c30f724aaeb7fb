package tcp

import (
	"encoding/binary"
	"fmt"

	"github.com/mtor-dev/mtor/transport"
)

// preface opens both directions: a name that no text protocol and no TLS
// hello begins with, and the version of the frames.
const preface = "\xffmtmux\x00\x01"

const (
	headerSize = 16
	// maxPayload is the most that one data frame carries: a piece. What goes from
	// a file to the socket is framed as long as it is handed over, since a frame
	// for a piece was measured to save a tenth of the CPU time of four. Whoever
	// wants control frames and aborts to get through sooner hands over less.
	maxPayload = 512 << 10
	// copiedPayload is the most that a frame carries which is sent from memory:
	// the size of the buffers.
	copiedPayload = 128 << 10
	// idLimit leaves room to count on from the highest ID.
	idLimit = 1 << 62
)

type frameType uint8

const (
	frameData frameType = 1 + iota
	frameCredit
	frameStop
	frameAbort
	frameClose
)

const (
	flagOpen uint8 = 1 << iota
	flagFin
)

// header is a frame's header. value is a length (data), a number of bytes
// (credit) or a transport.Code.
type header struct {
	typ   frameType
	flags uint8
	value uint32
	id    uint64
}

func (h header) append(b []byte) []byte {
	b = append(b, byte(h.typ), h.flags, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.value)
	return binary.BigEndian.AppendUint64(b, h.id)
}

// parseHeader reads the first headerSize bytes of b.
func parseHeader(b []byte) (header, error) {
	h := header{
		typ:   frameType(b[0]),
		flags: b[1],
		value: binary.BigEndian.Uint32(b[4:]),
		id:    binary.BigEndian.Uint64(b[8:]),
	}
	bad := b[2] != 0 || b[3] != 0 || h.id >= idLimit
	switch h.typ {
	case frameData:
		bad = bad || h.value > maxPayload || h.flags > flagOpen|flagFin || h.id == 0
	case frameCredit:
		bad = bad || h.flags != 0 || h.id == 0
	case frameStop, frameAbort:
		bad = bad || h.value >= transport.CodeLimit || h.flags != 0 || h.id == 0
	case frameClose:
		bad = bad || h.value >= transport.CodeLimit || h.flags != 0 || h.id != 0
	default:
		bad = true
	}
	if bad {
		return h, fmt.Errorf("%w: header %x", ErrFrame, b[:headerSize])
	}
	return h, nil
}
