package torrentfmt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

const (
	// MaxFileLen is the length of the longest .mtorrent that is read, in bytes:
	// the hash string of MaxPieces pieces in hex, the longest list of files with
	// every character of its paths written as an escape, and 64 KiB for all the
	// rest, which needs less than 8 KiB.
	MaxFileLen = MaxPieces*2*HashSize + 6*MaxListLen + MaxFiles*maxFileFields + 64<<10
	// maxFileFields is what a file takes in the list of files beside its path.
	maxFileFields = 96
)

// The values of the field "mtorrent".
const (
	// Version is that of a single file.
	Version = 1
	// FolderVersion is that of a folder: it has the field "files".
	FolderVersion = 2
)

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
		if !p.seen[field] && (field != fieldFiles || p.format == FolderVersion) {
			return nil, refuse(field, "missing")
		}
	}
	if p.format == Version && p.seen[fieldFiles] {
		return nil, refuse(fieldFiles, "only of version %d, this is %d", FolderVersion, Version)
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

var fieldOrder = []string{fieldVersion, fieldTracker1, fieldTracker2, fieldName, fieldSize, fieldFiles, fieldHashes}

func tooLong(n int64) error {
	return refuse("", "%d bytes: at most %d, what %d pieces need", n, MaxFileLen, MaxPieces)
}

type parser struct {
	scanner
	seen    map[string]bool
	torrent Torrent
	format  int    // the field "mtorrent"
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
	case fieldFiles:
		err = p.files()
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
	switch s {
	case strconv.Itoa(Version):
		p.format = Version
	case strconv.Itoa(FolderVersion):
		p.format = FolderVersion
	default:
		return fmt.Errorf("unknown version %s: want %d or %d", cut(s), Version, FolderVersion)
	}
	return nil
}

func (p *parser) files() error {
	p.torrent.Files = []File{}
	return p.list(func() error {
		if len(p.torrent.Files) == MaxFiles {
			return fmt.Errorf("more than %d files", MaxFiles)
		}
		var f File
		if err := p.file(&f); err != nil {
			return fmt.Errorf("file %d: %w", len(p.torrent.Files), err)
		}
		p.torrent.Files = append(p.torrent.Files, f)
		return nil
	})
}

func (p *parser) file(f *File) error {
	var path, size, executable bool
	err := p.inner(func(name []byte) error {
		var seen *bool
		var err error
		switch string(name) {
		case "path":
			seen = &path
			f.Path, err = p.text()
		case "size":
			seen = &size
			f.Size, err = p.size()
		case "executable":
			seen = &executable
			f.Executable, err = p.truth()
		default:
			return fmt.Errorf("unknown field %q", cut(string(name)))
		}
		if *seen {
			return fmt.Errorf("%s is given twice", name)
		}
		*seen = true
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err == nil && !(path && size && executable) {
		err = errors.New("path, size or executable is missing")
	}
	return err
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
	version := int64(Version)
	if t.Folder() {
		version = FolderVersion
	}
	b = strconv.AppendInt(b, version, 10)
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
	if t.Folder() {
		b = appendField(b, fieldFiles)
		b = appendFiles(b, t.Files)
		b = append(b, ",\n"...)
	}
	b = appendField(b, fieldHashes)
	b = append(b, '"')
	b = hex.AppendEncode(b, t.Hashes)
	return append(b, "\"\n}\n"...)
}

// appendFiles writes a file a line.
func appendFiles(b []byte, files []File) []byte {
	for i := range files {
		sep := ",\n"
		if i == 0 {
			sep = "[\n"
		}
		b = append(append(b, sep...), `    {"path": `...)
		b = appendString(b, files[i].Path)
		b = append(b, `, "size": `...)
		b = strconv.AppendInt(b, files[i].Size, 10)
		b = append(b, `, "executable": `...)
		b = strconv.AppendBool(b, files[i].Executable)
		b = append(b, '}')
	}
	return append(b, "\n  ]"...)
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
