package menu

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

// quoteForms are the ways to write any word, whatever bytes it holds.
var quoteForms = []func(string) string{
	func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" },
	func(s string) string {
		return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
	},
	func(s string) string {
		if s == "" {
			return "''"
		}
		var b strings.Builder
		for i := range len(s) {
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
		return b.String()
	},
}

// FuzzWords: a quoted word comes back as it was, in each form of quoting and
// among others.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", `say "hi"`, `C:\dir\`, "#1", "~/x", "čšž 日本", "a\xff", " \t", `\`, `'"'`, "\r"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") {
			t.Skip()
		}
		for i, quoteA := range quoteForms {
			for j, quoteB := range quoteForms {
				line := "get " + quoteA(a) + " \t" + quoteB(b) + " "
				got, err := words(line, "/home/ann")
				if want := []string{"get", a, b}; err != nil || !slices.Equal(got, want) {
					t.Fatalf("forms %d and %d: %q became %q, err %v", i, j, line, got, err)
				}
			}
		}
	})
}

// FuzzParse: any line is refused with one printable reason, or is a row of the
// grammar with all its arguments.
func FuzzParse(f *testing.F) {
	for _, v := range verbs {
		f.Add(v.usage())
		f.Add(v.name)
	}
	for _, s := range []string{
		`share "my file.iso" my.mtorrent`, `get 'a b`, `get a\`, "wait --timeout 5s", "wait --timeout=-1ns",
		"show", "show peers", "# x", " #", "shaer a b", "get a b c", `get "" x`, "\x00", "\xff\xfe", "\u202e", "日本",
		strings.Repeat("q", 40), "share a.iso a.iso",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parse(line, "/home/ann")
		if err != nil {
			var b strings.Builder
			printError(&b, "", err)
			text, ended := strings.CutSuffix(b.String(), "\n")
			if !ended || strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
				t.Fatalf("%q: the error is %q", line, b.String())
			}
			if !strings.HasPrefix(text, "error: ") || strings.Contains(text, "error:  :") {
				t.Fatalf("%q: the error is %q", line, text)
			}
			return
		}
		if c.verb == "" {
			if s := strings.Trim(line, " \t"); s != "" && s[0] != '#' {
				t.Fatalf("%q was passed over", line)
			}
			return
		}
		i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == c.verb })
		if i < 0 || len(c.args) != len(verbs[i].args) || slices.Contains(c.args, "") || c.timeout < 0 {
			t.Fatalf("%q became %+v", line, c)
		}
		if c.timeout > 0 && c.verb != "wait" {
			t.Fatalf("%q: a timeout for %s", line, c.verb)
		}
	})
}
