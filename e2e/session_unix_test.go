//go:build unix

package e2e

import (
	"fmt"
	"regexp"
	"strings"
)

// A session is a fenced block of a document that begins with ```console: what one
// shell shows. Its lines "$ command" are typed into a shell, its lines "mtor> command"
// into the menu of the client that runs there, and the lines beneath are the answer.
// A block whose first line is for the menu goes on in the shell of the menu before it.
//
// Any other fenced block, and a session that cannot be run, must be preceded by a
// comment, which a reader does not see: <!-- not run: the reason -->
//
// Two more such comments may stand before a session. After <!-- numbers vary: why -->
// any number is as good as another in its answers. After <!-- a moment: why --> each
// command is run again until it answers so, for momentTime at most.
type session struct {
	steps        []step
	moment, vary bool
}

type step struct {
	line    int  // in the document, from 1
	menu    bool // for the menu, not the shell
	command string
	answer  []answer
	follows bool // the document shows a bar
	vary    bool // its numbers do
}

type answer struct {
	line int
	text string
}

var (
	notRun = regexp.MustCompile(`^<!-- not run:(.*)-->$`)
	moment = regexp.MustCompile(`^<!-- a moment: .* -->$`)
	vary   = regexp.MustCompile(`^<!-- numbers vary: .* -->$`)
	// A bar on a terminal is a line now and then off one.
	bar      = regexp.MustCompile(`^\S+ \[#*\.*\] +\d+% `)
	progress = regexp.MustCompile(`^\S+ \d+% of .* peers?`)
)

// sessions takes the sessions out of a document in Markdown.
func sessions(document string) ([]session, error) {
	var found []session
	var reason, fence string
	var next session     // what comments say of it
	var current *session // nil outside of sessions
	for i, text := range strings.Split(document, "\n") {
		n := i + 1
		switch {
		case fence != "" && text == "```":
			if current != nil && len(current.steps) == 0 {
				return nil, fmt.Errorf("line %d: a session without a command", n)
			}
			fence, reason, current, next = "", "", nil, session{}
		case fence != "" && current == nil: // what is not run
		case fence != "":
			if err := current.add(n, text); err != nil {
				return nil, err
			}
		case strings.HasPrefix(text, "```"):
			fence = text
			if reason != "" {
				break
			}
			if text != "```console" {
				return nil, fmt.Errorf("line %d: this block is neither run (```console) nor has a reason before it (<!-- not run: ... -->)", n)
			}
			found = append(found, next)
			current = &found[len(found)-1]
		case strings.HasPrefix(text, "    $ "), strings.HasPrefix(text, "    mtor> "):
			return nil, fmt.Errorf("line %d: a session is fenced, with ```console", n)
		case strings.TrimSpace(text) != "":
			reason = ""
			next.moment = moment.MatchString(text) || next.moment && vary.MatchString(text)
			next.vary = vary.MatchString(text) || next.vary && moment.MatchString(text)
			if m := notRun.FindStringSubmatch(text); m != nil {
				if reason = strings.TrimSpace(m[1]); reason == "" {
					return nil, fmt.Errorf("line %d: why is the block not run?", n)
				}
			}
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("the last block has no end")
	}
	return found, nil
}

func (s *session) add(n int, text string) error {
	shell, isShell := strings.CutPrefix(text, "$ ")
	menu, isMenu := strings.CutPrefix(text, "mtor> ")
	switch {
	case isShell:
		s.steps = append(s.steps, step{line: n, command: shell, vary: s.vary})
	case isMenu:
		s.steps = append(s.steps, step{line: n, menu: true, command: menu, vary: s.vary})
	case strings.TrimSpace(text) == "":
	case len(s.steps) == 0:
		return fmt.Errorf("line %d: an answer before the first command", n)
	default:
		last := &s.steps[len(s.steps)-1]
		if bar.MatchString(text) {
			last.follows = true
			break
		}
		last.answer = append(last.answer, answer{line: n, text: text})
	}
	return nil
}

// varying is what differs from run to run: how long something took, and how fast it was.
var varying = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\b\d+(\.\d+)? ([kMG]i?)?B/s`), "RATE"},
	{regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\b\d{1,2}%`), "PART"}, // 100% is another thing
	{regexp.MustCompile(`\s+`), " "},           // columns are as wide as an address is long
}

var numbers = regexp.MustCompile(`\d+(\.\d+)?`)

func steady(text string, vary bool) string {
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.as)
	}
	if vary {
		text = numbers.ReplaceAllString(text, "N")
	}
	return strings.TrimSpace(text)
}

// same says whether the documented line is what was said, but for what varies, and
// for its numbers if vary says so. Where the document has an ellipsis, anything may
// stand.
func same(documented, said string, vary bool) bool {
	parts := strings.Split(steady(documented, vary), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(steady(said, vary))
}
