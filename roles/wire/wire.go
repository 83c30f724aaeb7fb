// Package wire owns the mtor protocol: its messages (mtor.proto and
// replication.proto, generated code beside them), their framing, and the error
// codes. It knows no sockets: it reads from and writes to any byte stream.
//
// docs/protocol.md describes the whole for other implementers.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative mtor.proto replication.proto

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	// Version is the protocol version that this code speaks.
	Version = 1
	// NodeIDSize is the length of a node ID in bytes.
	NodeIDSize = 20
	// MaxMessage bounds every message but Bitfield, so that a stranger's
	// length prefix allocates little.
	MaxMessage = 64 << 10
	// MaxOpen bounds the first message of a stream between peers, which is read
	// before anything is known of its sender.
	MaxOpen = 1 << 10
	// MaxWant bounds how many peers one reply carries.
	MaxWant = 200
	// MaxTrackers bounds the trackers that one reply names, as config bounds
	// those that one tracker is told of.
	MaxTrackers = 8
)

// ErrTooLarge is returned for a message over its limit.
var ErrTooLarge = errors.New("message over its limit")

// Append frames m after b: its length as a varint, then its bytes.
func Append(b []byte, m proto.Message) ([]byte, error) {
	b = protowire.AppendVarint(b, uint64(proto.Size(m)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
}

// Write sends m, framed, with one call of w.Write, so that it makes one frame
// on a multiplexed transport.
func Write(w io.Writer, m proto.Message) error {
	b, err := Append(nil, m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name(m), err)
	}
	_, err = w.Write(b)
	return err
}

// Reader reads framed messages and the raw bytes between them.
type Reader struct{ *bufio.Reader }

// NewReader reads from r through a small buffer.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 4096)} }

// Next replaces m with the next message. limit bounds its size in bytes and is
// checked before anything is allocated. At the end of the stream, between
// messages, the error is io.EOF; inside one io.ErrUnexpectedEOF.
func (r *Reader) Next(m proto.Message, limit int64) error {
	err := protodelim.UnmarshalOptions{MaxSize: limit}.UnmarshalFrom(r.Reader, m)
	var large *protodelim.SizeTooLargeError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%s of %d bytes: %w (%d)", name(m), large.Size, ErrTooLarge, limit)
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return fmt.Errorf("read %s: %w", name(m), err)
}

func name(m proto.Message) string { return string(m.ProtoReflect().Descriptor().Name()) }
