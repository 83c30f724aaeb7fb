package torrentfmt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

// MaxFileLen is the length of the longest .mtorrent that is read, in bytes:
// the hash string of MaxPieces pieces in hex, and 64 KiB for all the rest,
// which needs less than 8 KiB even when every character of the name and the
// addresses is written as an escape.
const MaxFileLen = MaxPieces*2*HashSize + 64<<10

// Version is the value of the field "mtorrent".
const Version = 1

// Parse reads a .mtorrent. It takes exactly the fields that Encode writes, in
// any order, each once; everything else is refused with a *FieldError. The
// result shares no memory with data.
func Parse(data []byte) (*Torrent, error) {
	if len(data) > MaxFileLen {
		return nil, tooLong(int64(len(data)))
	}
	p := parser{scanner: scanner{data: data}, seen: make(map[string]bool)}
	if err := p.object(p.member); err != nil {
		return nil, err
	}
	for _, field := range fieldOrder {
		if !p.seen[field] {
			return nil, refuse(field, "missing")
		}
	}
	if n := len(p.hex); n%(2*HashSize) != 0 {
		return nil, refuse(fieldHashes, "%d characters are no whole number of %d-character digests", n, 2*HashSize)
	}
	if err := p.torrent.check(len(p.hex) / 2); err != nil {
		return nil, err
	}
	var err error
	if p.torrent.Hashes, err = decodeHex(p.hex); err != nil {
		return nil, err
	}
	return &p.torrent, nil
}

var fieldOrder = []string{fieldVersion, fieldTracker1, fieldTracker2, fieldName, fieldSize, fieldHashes}

func tooLong(n int64) error {
	return refuse("", "%d bytes: at most %d, what %d pieces need", n, MaxFileLen, MaxPieces)
}

type parser struct {
	scanner
	seen    map[string]bool
	torrent Torrent
	hex     []byte // hash_string as written
}

func (p *parser) member(name []byte) error {
	field := string(name)
	if p.seen[field] {
		return refuse(field, "given twice")
	}
	var err error
	switch field {
	case fieldVersion:
		err = p.version()
	case fieldTracker1:
		p.torrent.Trackers[0], err = p.text()
	case fieldTracker2:
		p.torrent.Trackers[1], err = p.text()
	case fieldName:
		p.torrent.Name, err = p.text()
	case fieldSize:
		p.torrent.Size, err = p.size()
	case fieldHashes:
		p.hex, err = p.str()
	default:
		return refuse("", "unknown field %q", cut(field))
	}
	p.seen[field] = true
	if err != nil {
		return refuse(field, "%v", err)
	}
	return nil
}

// version refuses at once what another version wrote, before its other fields
// are called unknown.
func (p *parser) version() error {
	s, err := p.number()
	if err != nil {
		return err
	}
	if s != strconv.Itoa(Version) {
		return fmt.Errorf("unknown version %s: want %d", cut(s), Version)
	}
	return nil
}

func (p *parser) text() (string, error) {
	b, err := p.str()
	return string(b), err
}

func (p *parser) size() (int64, error) {
	s, err := p.number()
	if err != nil {
		return 0, err
	}
	return wholeNumber(s)
}

// decodeHex turns a hash string of whole digests from lower-case hex into raw
// bytes.
func decodeHex(digits []byte) ([]byte, error) {
	raw := make([]byte, len(digits)/2)
	for i := range raw {
		hi, lo := hexValues[digits[2*i]], hexValues[digits[2*i+1]]
		if hi|lo > 0xf {
			at := 2 * i
			if hi <= 0xf {
				at++
			}
			return nil, refuse(fieldHashes, "character %d, %q, is not lower-case hex", at, digits[at:at+1])
		}
		raw[i] = hi<<4 | lo
	}
	return raw, nil
}

// hexValues maps a lower-case hex digit to its value, other bytes above 0xf.
var hexValues = func() (t [256]byte) {
	for c := range t {
		t[c] = byte(hexDigit(byte(c))) // -1 becomes 0xff
	}
	return t
}()

// Encode is the one written form of a torrent that Check accepts: indented
// JSON, one field a line, ending in a newline. Parse(t.Encode()) equals t.
func (t *Torrent) Encode() []byte {
	b := make([]byte, 0, 2*len(t.Hashes)+8<<10)
	b = append(b, "{\n"...)
	b = appendField(b, fieldVersion)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, ",\n"...)
	for i, field := range []string{fieldTracker1, fieldTracker2} {
		b = appendField(b, field)
		b = appendString(b, t.Trackers[i])
		b = append(b, ",\n"...)
	}
	b = appendField(b, fieldName)
	b = appendString(b, t.Name)
	b = append(b, ",\n"...)
	b = appendField(b, fieldSize)
	b = strconv.AppendInt(b, t.Size, 10)
	b = append(b, ",\n"...)
	b = appendField(b, fieldHashes)
	b = append(b, '"')
	b = hex.AppendEncode(b, t.Hashes)
	return append(b, "\"\n}\n"...)
}

func appendField(b []byte, field string) []byte {
	b = append(b, "  \""...)
	b = append(b, field...)
	return append(b, "\": "...)
}

// appendString quotes s without the escapes for HTML, so that '&' stays '&'.
func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string into a buffer cannot fail
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
