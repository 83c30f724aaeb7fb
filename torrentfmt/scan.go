package torrentfmt

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads one JSON object (RFC 8259) to the letter. encoding/json
// would match names without regard to case, take the last of two duplicates,
// take null for anything and replace what is not UTF-8; and it would copy the
// hash string, which may be 160 MiB, several times.
type scanner struct {
	data []byte
	pos  int
}

// object reads the whole input as one object and calls member for each name,
// with the scanner at the start of its value; member must read the value.
func (s *scanner) object(member func(name []byte) error) error {
	s.space()
	if s.pos == len(s.data) {
		return refuse("", "empty")
	}
	if err := s.inner(member); err != nil {
		return err
	}
	s.space()
	if s.pos != len(s.data) {
		return refuse("", "byte %d: data after the end of the object", s.pos)
	}
	return nil
}

// inner is object for one that begins here and may have something behind it.
func (s *scanner) inner(member func(name []byte) error) error {
	if !s.take('{') {
		return s.want("a JSON object")
	}
	s.space()
	if s.take('}') {
		return nil
	}
	return s.members(member)
}

// list reads a list and calls element for each value, with the scanner at its
// start; element must read it.
func (s *scanner) list(element func() error) error {
	if !s.take('[') {
		return fmt.Errorf("%s: want a list", s.kind())
	}
	s.space()
	if s.take(']') {
		return nil
	}
	for {
		s.space()
		if err := element(); err != nil {
			return err
		}
		s.space()
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.want("a comma or the end of the list")
		}
	}
}

// truth reads true or false.
func (s *scanner) truth() (bool, error) {
	for _, t := range []bool{true, false} {
		if word := strconv.FormatBool(t); bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return t, nil
		}
	}
	return false, fmt.Errorf("%s: want true or false", s.kind())
}

func (s *scanner) members(member func(name []byte) error) error {
	for {
		s.space()
		if s.peek() != '"' {
			return s.want("a field's name in quotes")
		}
		name, err := s.str()
		if err != nil {
			return refuse("", "a field's name: %v", err)
		}
		s.space()
		if !s.take(':') {
			return s.want("a colon")
		}
		s.space()
		if err := member(name); err != nil {
			return err
		}
		s.space()
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.want("a comma or the end of the object")
		}
	}
}

func (s *scanner) want(what string) error {
	if s.pos >= len(s.data) {
		return refuse("", "cut off at byte %d: want %s", s.pos, what)
	}
	return refuse("", "byte %d is %q: want %s", s.pos, s.data[s.pos:s.pos+1], what)
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// kind names what a value that starts at pos would be.
func (s *scanner) kind() string {
	switch c := s.peek(); c {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a truth value"
	case 'n':
		return "null"
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return "a number"
		}
		return "no JSON value"
	}
}

// number reads the characters of a JSON number, as written.
func (s *scanner) number() (string, error) {
	if k := s.kind(); k != "a number" {
		return "", fmt.Errorf("%s: want a number", k)
	}
	start := s.pos
	for s.pos < len(s.data) && strings.IndexByte("0123456789+-.eE", s.data[s.pos]) >= 0 {
		s.pos++
	}
	return string(s.data[start:s.pos]), nil
}

// str reads a string. The result is a part of the input where no escape makes
// a copy necessary.
func (s *scanner) str() ([]byte, error) {
	if k := s.kind(); k != "a string" {
		return nil, fmt.Errorf("%s: want a string", k)
	}
	start := s.pos + 1
	end := start
	for {
		n := bytes.IndexByte(s.data[end:], '"')
		if n < 0 {
			return nil, errors.New("a string without its closing quote")
		}
		end += n
		if !escapedAt(s.data[start:], end-start) {
			break
		}
		end++
	}
	s.pos = end + 1
	raw := s.data[start:end]
	for _, c := range raw {
		if c < ' ' {
			return nil, fmt.Errorf("holds the bare control character %U", c)
		}
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("not UTF-8")
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw, nil
	}
	return unescape(raw)
}

// escapedAt reports whether the byte at i stands after an odd run of
// backslashes.
func escapedAt(b []byte, i int) bool {
	n := 0
	for n < i && b[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

var shortEscapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func unescape(raw []byte) ([]byte, error) {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 {
			return append(out, raw...), nil
		}
		out, raw = append(out, raw[:n]...), raw[n+1:]
		// str ends a string at its first unescaped quote, so that a backslash
		// is never the last byte here.
		if c, ok := shortEscapes[raw[0]]; ok {
			out, raw = append(out, c), raw[1:]
			continue
		}
		r, ok := codeUnit(raw)
		if !ok {
			return nil, fmt.Errorf("holds the unknown escape %q", cut(`\`+string(raw[:min(5, len(raw))])))
		}
		raw = raw[5:]
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if len(raw) > 0 && raw[0] == '\\' {
				low, ok = codeUnit(raw[1:])
			}
			pair := utf16.DecodeRune(r, low)
			if !ok || pair == utf8.RuneError {
				return nil, fmt.Errorf(`holds half of a surrogate pair, \u%04x`, r)
			}
			r, raw = pair, raw[6:]
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}

// codeUnit reads "uXXXX", the part of a \u escape after its backslash.
func codeUnit(b []byte) (rune, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	n := rune(0)
	for _, c := range b[1:5] {
		d := hexDigit(c | 0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		n = n<<4 | rune(d)
	}
	return n, true
}

// hexDigit is the value of a lower-case hex digit, -1 for another byte.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// cut keeps what a message repeats of the input short.
func cut(s string) string {
	const keep = 40
	if len(s) <= keep {
		return s
	}
	return s[:keep] + "..."
}

// wholeNumber reads a JSON number that is written in plain digits.
func wholeNumber(s string) (int64, error) {
	digits := s
	if len(s) > 0 && s[0] == '-' {
		digits = s[1:]
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%s is not a whole number in plain digits", cut(s))
		}
	}
	if digits == "" || digits[0] == '0' && len(digits) > 1 {
		return 0, fmt.Errorf("%s is not a JSON number", cut(s))
	}
	if s[0] == '-' {
		return 0, fmt.Errorf("%s is negative", cut(s))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > MaxSize {
		return 0, fmt.Errorf("%s is over 2^53", cut(s))
	}
	return n, nil
}
