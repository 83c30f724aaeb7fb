package menu

import (
	"errors"
	"strings"
)

// Errors of a line that is no list of words. Their text says how to mend it.
var (
	errQuote     = errors.New(`a quote is left open: close it, or write \' or \" for the character itself`)
	errBackslash = errors.New(`a backslash ends the line: write \\ for the character itself`)
	errNUL       = errors.New("the line holds a NUL byte")
)

// words cuts a line into words as a shell does, but for what a shell makes of
// $, *, # and the like: those are ordinary characters, as paths hold them.
// Spaces and tabs part words. Within '...' everything is literal; within "..."
// a backslash makes " and \ literal and is itself literal before anything
// else; outside quotes a backslash makes any character literal. An unquoted ~
// at the start of a word, alone or before a slash, stands for home unless home
// is empty. Bytes that are not UTF-8 pass through, since paths may hold them.
func words(line, home string) ([]string, error) {
	if strings.IndexByte(line, 0) >= 0 {
		return nil, errNUL
	}
	var list []string
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return list, nil
		}
		word, rest, err := nextWord(line, home)
		if err != nil {
			return nil, err
		}
		list, line = append(list, word), rest
	}
}

// nextWord takes the first word off line, which does not begin with a space.
func nextWord(line, home string) (word, rest string, err error) {
	var b strings.Builder
	i := 0
	if home != "" && line[0] == '~' && (len(line) == 1 || strings.IndexByte("/ \t", line[1]) >= 0) {
		b.WriteString(home)
		i = 1
	}
	for i < len(line) {
		switch c := line[i]; c {
		case ' ', '\t':
			return b.String(), line[i:], nil
		case '\\':
			if i+1 == len(line) {
				return "", "", errBackslash
			}
			b.WriteByte(line[i+1])
			i += 2
		case '\'':
			n := strings.IndexByte(line[i+1:], '\'')
			if n < 0 {
				return "", "", errQuote
			}
			b.WriteString(line[i+1 : i+1+n])
			i += n + 2
		case '"':
			n, ok := doubleQuoted(&b, line[i+1:])
			if !ok {
				return "", "", errQuote
			}
			i += n + 2
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), "", nil
}

// doubleQuoted appends what stands before the closing quote in s, and says how
// long that was in s.
func doubleQuoted(b *strings.Builder, s string) (n int, ok bool) {
	for n < len(s) {
		switch {
		case s[n] == '"':
			return n, true
		case s[n] == '\\' && n+1 < len(s) && (s[n+1] == '"' || s[n+1] == '\\'):
			n++
		}
		b.WriteByte(s[n])
		n++
	}
	return 0, false
}
