package menu

import (
	"slices"
	"strings"
)

// Kind is what may stand somewhere in a line.
type Kind int

// The kinds of words. Nothing is said of what is none of the others.
const (
	Nothing  Kind = iota
	Word          // one of Completion.Words
	Path          // a file or a folder
	Mtorrent      // a .mtorrent, or a folder on the way to one
	Name          // a torrent in the library
)

// Completion is the last word of a line that is being typed, and what it may
// become.
type Completion struct {
	Start int      // where it begins in the line, in bytes
	Typed string   // what it means so far, without its quotes
	Kind  Kind     // what it may become
	Words []string // of Kind Word: the words that it may become

	quote byte   // that it stands in; 0 for none
	home  string // that its ~ stands for; empty without one
}

// Complete says what the last word of a line may become; the line ends where the
// cursor is, home stands for ~ as in commands. A line that ends in a space has
// an empty last word.
func Complete(line, home string) Completion {
	before, c, ok := lastWord(line, home)
	if !ok {
		return c
	}
	if len(before) == 0 {
		c.Kind, c.Words = Word, firsts()
		return c
	}
	name := before[0]
	switch name {
	case "show":
		if len(before) == 1 {
			c.Kind, c.Words = Word, seconds()
			return c
		}
		name, before = "show "+before[1], before[1:]
	case "help":
		c.Kind, c.Words = Word, firsts()
		if slices.Equal(before[1:], []string{"show"}) {
			c.Words = seconds()
		} else if len(before) > 1 {
			c.Kind, c.Words = Nothing, nil
		}
		return c
	case "limit":
		return completeLimit(c, before[1:])
	case "wait":
		if len(before) == 1 {
			c.Kind, c.Words = Word, []string{"--timeout"}
		}
		return c
	}
	if i := find(name); i >= 0 && len(before) <= len(verbs[i].args) {
		c.Kind = verbs[i].args[len(before)-1].kind
	}
	return c
}

// completeLimit is for the words after limit: a torrent may come first, then
// directions with their rates.
func completeLimit(c Completion, args []string) Completion {
	if len(args) > 0 && args[0] != "up" && args[0] != "down" {
		args = args[1:]
	} else if len(args) == 0 {
		c.Kind, c.Words = Name, []string{"up", "down"}
		return c
	}
	if len(args)%2 == 0 {
		c.Kind, c.Words = Word, []string{"up", "down"}
	}
	return c
}

// firsts are the words that a command begins with.
func firsts() []string {
	var list []string
	for _, v := range verbs {
		first, _, _ := strings.Cut(v.name, " ")
		if !slices.Contains(list, first) {
			list = append(list, first)
		}
	}
	return list
}

// seconds are the words that can follow show.
func seconds() []string {
	var list []string
	for _, v := range verbs {
		if what, ok := strings.CutPrefix(v.name, "show "); ok {
			list = append(list, what)
		}
	}
	return list
}

// lastWord cuts a line whose last word may lack its closing quote. It is false
// for a line that ends in a backslash or holds a NUL, which nothing completes.
func lastWord(line, home string) (before []string, c Completion, ok bool) {
	rest := line
	for {
		rest = strings.TrimLeft(rest, " \t")
		c.Start = len(line) - len(rest)
		if rest == "" {
			return before, c, strings.IndexByte(line, 0) < 0
		}
		quote := byte(0)
		word, after, err := nextWord(rest, home)
		for _, q := range []string{`"`, `'`} {
			if err == errQuote { //nolint:errorlint // it is returned as it is
				if word, after, err = nextWord(rest+q, home); err == nil {
					quote = q[0]
				}
			}
		}
		if err != nil {
			return nil, c, false
		}
		if after == "" {
			c.Typed, c.quote = word, quote
			if home != "" && (rest == "~" || strings.HasPrefix(rest, "~/")) {
				c.home = home
			}
			return before, c, strings.IndexByte(line, 0) < 0
		}
		before, rest = append(before, word), after
	}
}

// Put is the line with its last word replaced by word, quoted as far as it must
// be and as it was. whole says that nothing follows in the word.
func (c Completion) Put(line, word string, whole bool) string {
	var b strings.Builder
	b.WriteString(line[:c.Start])
	if tail, ok := strings.CutPrefix(word, c.home); ok && c.home != "" {
		switch { // what stands for home is not quoted
		case tail == "":
			b.WriteByte('~')
			word, c.quote = "", 0
		case tail[0] == '/':
			b.WriteString("~/")
			word = tail[1:]
		}
	}
	switch {
	case c.quote != 0 && (c.quote == '"' || !strings.Contains(word, "'")):
		b.WriteByte(c.quote)
		if c.quote == '"' {
			word = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word)
		}
		b.WriteString(word)
		if whole {
			b.WriteByte(c.quote)
		}
	default:
		for i := range len(word) {
			if strings.IndexByte(" \t'\"\\", word[i]) >= 0 || i == 0 && word[i] == '~' && b.Len() == c.Start {
				b.WriteByte('\\')
			}
			b.WriteByte(word[i])
		}
	}
	if whole {
		b.WriteByte(' ')
	}
	return b.String()
}
