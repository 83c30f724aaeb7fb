package registry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// A stored entry's key is its origin's number in this file (4 bytes) and its
// sequence number (8 bytes), so that the entries of an origin lie in the order
// they were written. All integers are big endian. The value is
//
//	kind 1 | stamp 8 | body | CRC32C 4, over key and all before
//
// with these bodies:
//
//	row      torrent 20 | address 18 | flags 1 (1 whole, 2 gone)
//	home     address 18 | node 20 | the field owner, if the client has proven one
//	floor    address 18
//	torrent  torrent 20 | list length 22 bits, size 42 bits | filename | 0 if fields follow
//
// and behind them, if a newer program said more, its fields as a protobuf
// message (see roles/wire/replication.proto). The body of a kind that this
// program does not know is such a message, and so must be any later kind's.
const (
	keySize   = 12
	headSize  = 9
	crcSize   = 4
	rowBody   = 20 + 18 + 1
	homeBody  = 18 + nodeIDSize
	floorBody = 18
	infoBody  = 20 + 8 // and the filename
	maxValue  = headSize + infoBody + torrentfmt.MaxNameLen + 1 + MaxExtra + crcSize

	flagWhole = 1
	flagGone  = 2
)

// ownerField begins the owner of a home as in a message of protobuf: field 13,
// of 20 bytes. A program that does not know it keeps it like any other field.
const ownerField = "\x6a\x14"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errChecksum = errors.New("checksum does not match")

// dotRef is a dot whose origin is known by its number.
type dotRef struct {
	origin uint32
	seq    uint64
}

func (d dotRef) appendKey(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, d.origin)
	return binary.BigEndian.AppendUint64(b, d.seq)
}

func decodeKey(b []byte) (dotRef, error) {
	if len(b) != keySize {
		return dotRef{}, fmt.Errorf("%w: key of %d bytes", errEntry, len(b))
	}
	return dotRef{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:])}, nil
}

// appendValue appends e's stored form; k is its stored key.
func appendValue(b, k []byte, e *Entry) []byte {
	start := len(b)
	b = append(b, byte(e.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stamp))
	switch e.Kind {
	case KindRow:
		b = append(b, e.Torrent[:]...)
		b = append(b, e.Addr[:]...)
		b = append(b, e.flags())
	case KindHome:
		b = append(b, e.Addr[:]...)
		b = append(b, e.Node[:]...)
		if e.Owner != (NodeID{}) {
			b = append(append(b, ownerField...), e.Owner[:]...)
		}
	case KindFloor:
		b = append(b, e.Addr[:]...)
	case KindTorrent:
		b = append(b, e.Torrent[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.lengths()))
		b = append(b, e.Name...)
		if len(e.Extra) > 0 {
			b = append(b, 0)
		}
	}
	b = append(b, e.Extra...)
	return appendCRC(b, k, start)
}

// appendCRC appends the checksum of k and of b from start.
func appendCRC(b, k []byte, start int) []byte {
	sum := crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, b[start:])
	return binary.BigEndian.AppendUint32(b, sum)
}

// cutCRC checks what appendCRC wrote and returns v without it.
func cutCRC(k, v []byte) ([]byte, error) {
	if len(v) < crcSize {
		return nil, fmt.Errorf("%w: value of %d bytes", errEntry, len(v))
	}
	body := v[:len(v)-crcSize]
	sum := crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, body)
	if sum != binary.BigEndian.Uint32(v[len(body):]) {
		return nil, errChecksum
	}
	return body, nil
}

func (e *Entry) flags() byte {
	var f byte
	if e.Whole {
		f |= flagWhole
	}
	if e.Gone {
		f |= flagGone
	}
	return f
}

// decodeValue reads what appendValue wrote. The result shares nothing with v
// and has its Seq set; the caller knows the origin.
func decodeValue(k, v []byte) (Entry, error) {
	var e Entry
	ref, err := decodeKey(k)
	if err != nil {
		return e, err
	}
	if len(v) > maxValue {
		return e, fmt.Errorf("%w: value of %d bytes", errEntry, len(v))
	}
	b, err := cutCRC(k, v)
	if err != nil {
		return e, err
	}
	if len(b) < headSize {
		return e, fmt.Errorf("%w: value of %d bytes", errEntry, len(v))
	}
	e.Dot.Seq = ref.seq
	e.Kind = Kind(b[0])
	e.Stamp = Stamp(binary.BigEndian.Uint64(b[1:]))
	if err := e.decodeBody(b[headSize:]); err != nil {
		return Entry{}, err
	}
	return e, e.Check()
}

func (e *Entry) decodeBody(b []byte) error {
	want := 0
	switch e.Kind {
	case KindRow:
		want = rowBody
	case KindHome:
		want = homeBody
	case KindFloor:
		want = floorBody
	case KindTorrent:
		want = infoBody
	}
	if len(b) < want {
		return fmt.Errorf("%w: %d bytes for kind %d", errEntry, len(b), e.Kind)
	}
	b, extra := b[:want], b[want:]
	switch e.Kind {
	case KindRow:
		copy(e.Torrent[:], b)
		copy(e.Addr[:], b[20:])
		e.Whole, e.Gone = b[38]&flagWhole != 0, b[38]&flagGone != 0
		if b[38]&^(flagWhole|flagGone) != 0 {
			return fmt.Errorf("%w: flags %#x", errEntry, b[38])
		}
	case KindHome:
		copy(e.Addr[:], b)
		copy(e.Node[:], b[18:])
		if n := len(ownerField) + nodeIDSize; len(extra) >= n && string(extra[:len(ownerField)]) == ownerField {
			if owner := NodeID(extra[len(ownerField):n]); owner != (NodeID{}) {
				e.Owner, extra = owner, extra[n:]
			}
		}
	case KindFloor:
		copy(e.Addr[:], b)
	case KindTorrent:
		copy(e.Torrent[:], b)
		e.Size, e.List = lengths(binary.BigEndian.Uint64(b[20:])).split()
		name, fields, more := bytes.Cut(extra, []byte{0})
		if more && len(fields) == 0 {
			return fmt.Errorf("%w: filename with a zero byte", errEntry)
		}
		e.Name, extra = string(name), fields
	}
	if len(extra) > 0 {
		e.Extra = bytes.Clone(extra)
	}
	return nil
}
