package menu

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// command is one parsed line. A line that is empty or a comment has no verb.
type command struct {
	verb    string
	args    []string
	timeout time.Duration // of wait; 0 means no limit
	limits  control.LimitChange
	limited string   // the torrent that limit is for; empty means all together
	about   []string // the verbs that help is for; none means all
}

// verb is a row of the grammar.
type verb struct {
	name string
	args []arg  // what must follow
	help string // its line in the list
	more string // what help says of it besides
}

// arg is a word that must follow a verb.
type arg struct {
	name string // as the help has it
	kind Kind   // what completes it
}

// named is the torrent that a command is for.
var named = arg{"<filename.mtorrent>", Name}

const namedMore = "A torrent is named by its .mtorrent, its filename or its ID."

// verbs is the grammar, in the order of the help.
var verbs = []verb{
	{"share", []arg{{"<local file path>", Path}, {"<filename>.mtorrent", Mtorrent}}, "write the .mtorrent, tell the tracker, seed",
		"A folder is shared with all regular files in it. The .mtorrent is a small text file:\ngive it to those who shall get the file."},
	{"get", []arg{{"<path to .mtorrent>", Mtorrent}, {"<destination path>", Path}}, "fetch the file; an existing folder keeps its name",
		"It goes on by itself, over restarts too, and what has come is seeded at once. Until the\nfile is whole it is called <name>.part."},
	{"show downloads", nil, "[D] downloading, [S] seeding, [!] stopped, [?] unchecked", ""},
	{"show peers", []arg{named}, "who is connected for it, and the pieces by peer", namedMore},
	{"pause", []arg{named}, "off the trackers and all peers, until resume", "It stays so over restarts; what has come stays too. " + namedMore},
	{"resume", []arg{named}, "go on with what is paused or was stopped", "A file that has changed since is verified first. " + namedMore},
	{"relocate", []arg{named, {"<path>", Path}}, "go on at the place that its file was moved to", "What is there is verified first. Nothing is moved or deleted. " + namedMore},
	{"remove", []arg{named}, "stop and delete the .mtorrent, never the file nor its .part", namedMore},
	{"limit", nil, "bytes a second: 20MB, 1MiB, none; of all torrents, or of one", "It holds at once, and until the client ends. Without a rate it says what the limits are."},
	{"wait", nil, "until no download is running, at most D (30s, 5m)", ""},
	{"help", nil, "this list, or more about a command", ""},
	{"quit", nil, "leave all seeder lists and end", "Downloads go on at the next start."},
}

// usage is how the verb is typed.
func (v verb) usage() string {
	switch v.name {
	case "wait":
		return "wait [--timeout D]"
	case "limit":
		return limitUsage
	case "help":
		return "help [<command>]"
	}
	list := []string{v.name}
	for _, a := range v.args {
		list = append(list, a.name)
	}
	return strings.Join(list, " ")
}

// commandError says what is wrong with a line: what was meant, and why it is
// not done.
type commandError struct {
	what string
	why  string
}

func (e *commandError) Error() string { return e.what + ": " + e.why }

// parse reads one line without its end. home stands for ~; see words. The
// error is a [*commandError].
func parse(line, home string) (command, error) {
	if strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") {
		return command{}, nil
	}
	list, err := words(line, home)
	if err != nil {
		return command{}, &commandError{what: firstWord(line), why: err.Error()}
	}
	if len(list) == 0 {
		return command{}, nil
	}
	name, args := list[0], list[1:]
	if name == "show" && len(args) > 0 && find("show "+args[0]) >= 0 {
		name, args = "show "+args[0], args[1:]
	}
	i := find(name)
	if i < 0 {
		if name == "" {
			name = `""`
		}
		return command{}, &commandError{what: name, why: unknown(list)}
	}
	c := command{verb: name, args: args}
	switch name {
	case "wait":
		return waitCommand(c)
	case "limit":
		return limitCommand(c)
	case "help":
		return helpCommand(c)
	}
	return c, checkArgs(c, verbs[i])
}

// find is the row of a verb, or -1.
func find(name string) int {
	return slices.IndexFunc(verbs, func(v verb) bool { return v.name == name })
}

// helpCommand reads what help is wanted for: nothing, or the words of a command.
func helpCommand(c command) (command, error) {
	about := strings.Join(c.args, " ")
	c.args = nil
	switch {
	case about == "":
	case about == "show":
		c.about = []string{"show downloads", "show peers"}
	case find(about) >= 0:
		c.about = []string{about}
	default:
		return command{}, &commandError{what: "help", why: Printable(about) + " is no command: " + unknown([]string{about})}
	}
	return c, nil
}

// checkArgs holds a command against its row of the grammar.
func checkArgs(c command, v verb) error {
	if n := len(c.args); n != len(v.args) {
		why := fmt.Sprintf("want %q, got %s", v.usage(), count(n, "argument"))
		if n > len(v.args) && len(v.args) > 0 {
			why += "; a path with spaces goes in quotes"
		}
		return &commandError{what: c.verb, why: why}
	}
	for i, arg := range c.args {
		if arg == "" {
			return &commandError{what: c.verb, why: v.args[i].name + " is empty"}
		}
	}
	if c.verb == "share" {
		if err := control.CheckMtorrent(c.args[1]); err != nil {
			return &commandError{what: c.verb, why: fmt.Sprintf("%s: want %q", Printable(err.Error()), v.usage())}
		}
	}
	return nil
}

// waitCommand reads the options of wait: --timeout D or --timeout=D.
func waitCommand(c command) (command, error) {
	fail := func(format string, args ...any) (command, error) {
		return command{}, &commandError{what: c.verb, why: fmt.Sprintf(format, args...)}
	}
	args := c.args
	c.args = nil
	if len(args) == 0 {
		return c, nil
	}
	value, joined := strings.CutPrefix(args[0], "--timeout=")
	switch {
	case joined:
		args = args[1:]
	case args[0] == "--timeout" && len(args) > 1:
		value, args = args[1], args[2:]
	case args[0] == "--timeout":
		return fail("--timeout lacks its duration, such as 30s or 5m")
	}
	if len(args) > 0 {
		return fail("want %q, got %q", "wait [--timeout D]", args[0])
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return fail("--timeout %q is not a duration such as 30s or 5m", value)
	}
	if d <= 0 {
		return fail("--timeout %s: want more than zero", value)
	}
	c.timeout = d
	return c, nil
}

// firstWord names a line whose quoting is broken.
func firstWord(line string) string {
	if f := strings.Fields(line); len(f) > 0 && !strings.ContainsAny(f[0], "'\"\\\x00") {
		return f[0]
	}
	return "line"
}

// meant leads from words that people try to the command that does it.
var meant = map[string]string{
	"exit": "quit", "bye": "quit", "q": "quit", "stop": "quit",
	"ls": "show downloads", "list": "show downloads", "show": "show downloads",
	"status": "show downloads", "downloads": "show downloads",
	"seed": "share", "add": "get", "download": "get", "fetch": "get",
	"rm": "remove", "delete": "remove", "del": "remove",
	"?": "help", "h": "help",
	"continue": "resume", "start": "resume", "move": "relocate", "peers": "show peers",
}

// maxTypos is how many letters may be wrong for a word to count as mistyped.
const maxTypos = 2

// unknown is why a line is no command: it names the nearest one.
func unknown(list []string) string {
	const no = "unknown command"
	typed := strings.ToLower(list[0])
	if typed == "show" && len(list) > 1 {
		return `downloads and peers can be shown: "show downloads", "show peers <name>"`
	}
	if v, ok := meant[typed]; ok {
		return fmt.Sprintf("%s, did you mean %q?", no, v)
	}
	best, at := maxTypos+1, ""
	for _, v := range verbs {
		first, _, _ := strings.Cut(v.name, " ")
		// A short word is near everything: at most half of it may be wrong.
		if d := distance(typed, first); d < best && 2*d <= len(first) {
			best, at = d, v.name
		}
	}
	if at == "" {
		return no + `, try "help"`
	}
	return fmt.Sprintf("%s, did you mean %q?", no, at)
}

// maxWord bounds the words that distance compares: no command is longer, and
// its work grows with the length.
const maxWord = 32

// distance is how many letters must be put in, left out, changed or swapped
// with their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			change := row[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			next[j] = min(change, row[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
