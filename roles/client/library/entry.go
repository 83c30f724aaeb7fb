package library

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"
	"time"

	"github.com/bits-and-blooms/bitset"
	bolt "go.etcd.io/bbolt"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// An entry's value is a CRC32C of its key and the rest, big-endian, and then:
// flags, torrent ID, Seq (uvarint), Size and ModTime (varint), Path (uvarint
// length, bytes), and with flagHave the number of pieces (uvarint) and their
// bits, eight a byte, lowest first. With flagSeeds, from format 2 on, SeedRatio
// (8 bytes, IEEE 754, big-endian) and SeedTime, Sent and Seeded (varint) follow;
// with flagName, from format 3 on, Name (uvarint length, bytes). The checksum
// stands in for bbolt, which checks none of its pages but two. Paths are kept as
// bytes: they need not be UTF-8.
const (
	flagWhole = 1 << iota
	flagHave
	flagPaused
	flagSeeds
	flagName
	flagsKnown = flagWhole | flagHave | flagPaused | flagSeeds | flagName
)

// maxPath bounds both paths, in bytes: a key of bbolt is no longer, and no
// system takes longer ones.
const maxPath = bolt.MaxKeySize

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errEncoding = errors.New("not an entry")

func (e *Entry) check() error {
	for _, path := range []string{e.Mtorrent, e.Path} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is no absolute path", path)
		}
		if len(path) > maxPath {
			return fmt.Errorf("a path of %d bytes: at most %d", len(path), maxPath)
		}
	}
	if e.Have != nil && e.Have.Len() > torrentfmt.MaxPieces {
		return fmt.Errorf("%d pieces: at most %d", e.Have.Len(), torrentfmt.MaxPieces)
	}
	if e.Name != "" {
		if err := torrentfmt.CheckName(e.Name); err != nil {
			return fmt.Errorf("name %q: %w", e.Name, err)
		}
	}
	return e.checkSeeds()
}

func (e *Entry) checkSeeds() error {
	sane := e.SeedRatio >= 0 && e.SeedRatio <= math.MaxFloat64 // false of what is no number
	if !sane || e.SeedTime < 0 || e.Seeded < 0 || e.Sent < 0 {
		return fmt.Errorf("seeded until %v, %s, with %d bytes and %s: want none below zero", e.SeedRatio, e.SeedTime, e.Sent, e.Seeded)
	}
	return nil
}

// seeds reports whether there is more to say of its seeding than nothing.
func (e *Entry) seeds() bool {
	return e.SeedRatio != 0 || e.SeedTime != 0 || e.Sent != 0 || e.Seeded != 0
}

func encodeEntry(e *Entry) []byte {
	body := encodeBody(e)
	return append(binary.BigEndian.AppendUint32(nil, checksum([]byte(e.Mtorrent), body)), body...)
}

func decodeEntry(key, value []byte) (*Entry, error) {
	if len(value) < 4 || binary.BigEndian.Uint32(value) != checksum(key, value[4:]) {
		return nil, fmt.Errorf("%w (entry %q)", ErrDamaged, key)
	}
	e, err := decodeBody(value[4:])
	if err != nil {
		return nil, fmt.Errorf("%w (entry %q: %w)", ErrDamaged, key, err)
	}
	e.Mtorrent = string(key)
	return e, nil
}

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

func encodeBody(e *Entry) []byte {
	have := e.Have
	if e.Whole {
		have = nil
	}
	flags := byte(0)
	if e.Whole {
		flags |= flagWhole
	}
	if have != nil {
		flags |= flagHave
	}
	if e.Paused {
		flags |= flagPaused
	}
	if e.seeds() {
		flags |= flagSeeds
	}
	if e.Name != "" {
		flags |= flagName
	}
	b := append([]byte{flags}, e.ID[:]...)
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendVarint(b, e.Size)
	b = binary.AppendVarint(b, e.ModTime)
	b = binary.AppendUvarint(b, uint64(len(e.Path)))
	b = append(b, e.Path...)
	if have != nil {
		b = binary.AppendUvarint(b, uint64(have.Len()))
		b = appendBits(b, have)
	}
	if e.seeds() {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(e.SeedRatio))
		for _, n := range []int64{int64(e.SeedTime), e.Sent, int64(e.Seeded)} {
			b = binary.AppendVarint(b, n)
		}
	}
	if e.Name != "" {
		b = binary.AppendUvarint(b, uint64(len(e.Name)))
		b = append(b, e.Name...)
	}
	return b
}

func appendBits(b []byte, bits *bitset.BitSet) []byte {
	n, words := int(bits.Len()+7)/8, bits.Words()
	for i := range n {
		b = append(b, byte(words[i/8]>>(i%8*8)))
	}
	return b
}

// decodeBody refuses what encodeBody would not write, but for the length of a
// varint; it copies all that it keeps.
func decodeBody(b []byte) (*Entry, error) {
	e := &Entry{}
	if len(b) < 1+len(e.ID) || b[0]&^byte(flagsKnown) != 0 || b[0]&(flagWhole|flagHave) == flagWhole|flagHave {
		return nil, errEncoding
	}
	flags := b[0]
	e.Whole = flags&flagWhole != 0
	d := decoder{b: b[1:]}
	copy(e.ID[:], d.bytes(uint64(len(e.ID))))
	e.Seq = d.uvarint()
	e.Size = d.varint()
	e.ModTime = d.varint()
	e.Path = string(d.bytes(min(d.uvarint(), maxPath+1)))
	if flags&flagHave != 0 {
		e.Have = d.bits()
	}
	e.Paused = flags&flagPaused != 0
	if flags&flagSeeds != 0 {
		if ratio := d.bytes(8); !d.failed {
			e.SeedRatio = math.Float64frombits(binary.BigEndian.Uint64(ratio))
		}
		e.SeedTime, e.Sent, e.Seeded = time.Duration(d.varint()), d.varint(), time.Duration(d.varint())
		if !e.seeds() || e.checkSeeds() != nil {
			return nil, errEncoding
		}
	}
	if flags&flagName != 0 {
		if e.Name = string(d.bytes(d.uvarint())); torrentfmt.CheckName(e.Name) != nil {
			return nil, errEncoding
		}
	}
	if d.failed || len(d.b) > 0 || len(e.Path) > maxPath {
		return nil, errEncoding
	}
	return e, nil
}

// decoder takes fields off the front of b; after a failure it yields zeros.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.failed, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	return skip(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	return skip(d, v, n)
}

func skip[T int64 | uint64](d *decoder, v T, n int) T {
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bits() *bitset.BitSet {
	n := d.uvarint()
	if n > torrentfmt.MaxPieces {
		d.failed = true
		return nil
	}
	packed := d.bytes((n + 7) / 8)
	if d.failed {
		return nil
	}
	if spare := n % 8; spare != 0 && packed[len(packed)-1]>>spare != 0 {
		d.failed = true
		return nil
	}
	words := make([]uint64, (n+63)/64)
	for i, x := range packed {
		words[i/8] |= uint64(x) << (i % 8 * 8)
	}
	return bitset.FromWithLength(uint(n), words)
}
