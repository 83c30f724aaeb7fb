package menu

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/roles/client/control"
)

func TestWordsAreWhatAShellUserMeans(t *testing.T) {
	for line, want := range map[string][]string{
		``:                          nil,
		"  \t ":                     nil,
		`get a b`:                   {"get", "a", "b"},
		"\tget  a\tb ":              {"get", "a", "b"},
		`get "a b" 'c d'`:           {"get", "a b", "c d"},
		`get a\ b c\ `:              {"get", "a b", "c "},
		`get "a " x`:                {"get", "a ", "x"},
		`get a#1 #2`:                {"get", "a#1", "#2"},
		`get it\'s "it's"`:          {"get", "it's", "it's"},
		`get 'say "hi"' "say \"o\"`: nil, // open quote
		`get "" ''`:                 {"get", "", ""},
		`get a"b c"d`:               {"get", "ab cd"},
		`get "C:\dir\f" 'C:\d'`:     {"get", `C:\dir\f`, `C:\d`},
		`get "\\host\x"`:            {"get", `\host\x`},
		`get $HOME *.iso a;b &`:     {"get", "$HOME", "*.iso", "a;b", "&"},
		`get čšž/日本.iso .`:          {"get", "čšž/日本.iso", "."},
		"get a\xffb .":              {"get", "a\xffb", "."},
		`get ~/a ~`:                 {"get", "/home/ann/a", "/home/ann"},
		`get "~/a" \~/b ~ann/c a~`:  {"get", "~/a", "~/b", "~ann/c", "a~"},
	} {
		got, err := words(line, "/home/ann")
		if want == nil && strings.TrimSpace(line) != "" {
			if err == nil {
				t.Errorf("%s: taken as %q", line, got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: err %v (-want +got):\n%s", line, err, diff)
		}
	}
	if got, _ := words(`~/a`, ""); len(got) != 1 || got[0] != "~/a" {
		t.Errorf("~ without a home became %q", got)
	}
}

func TestOpenQuotesAndStrayBackslashesAreRefused(t *testing.T) {
	for line, want := range map[string]error{
		`get "a b`:     errQuote,
		`get 'a b`:     errQuote,
		`get it's.iso`: errQuote,
		`get "a\"`:     errQuote,
		`get a\`:       errBackslash,
		"get a\x00 b":  errNUL,
	} {
		if _, err := words(line, ""); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", line, err, want)
		}
	}
}

func TestMistypedCommandNamesTheNearest(t *testing.T) {
	for line, want := range map[string]string{
		"shaer a b":       `"share"`,
		"SHARE a b":       `"share"`,
		"gte a b":         `"get"`,
		"hlep":            `"help"`,
		"remvoe x":        `"remove"`,
		"wiat":            `"wait"`,
		"qiut":            `"quit"`,
		"shwo downloads":  `"show downloads"`,
		"exit":            `"quit"`,
		"ls":              `"show downloads"`,
		"show":            `"show downloads"`,
		"show limits":     `"show peers <name>"`,
		"download x .":    `"get"`,
		"frobnicate":      `try "help"`,
		"x":               `try "help"`,
		"日本":              `try "help"`,
		"--timeout":       `try "help"`,
		"supercalifragi ": `try "help"`,
	} {
		_, err := parse(line, "")
		var c *commandError
		if !errors.As(err, &c) || !strings.Contains(c.why, want) {
			t.Errorf("%q: got %v, want a hint at %s", line, err, want)
		}
	}
}

func TestWaitReadsItsTimeout(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"wait": 0, "wait --timeout 90s": 90 * time.Second, "wait --timeout=1m30s": 90 * time.Second,
	} {
		if c, err := parse(line, ""); err != nil || c.timeout != want {
			t.Errorf("%s: %v, %v", line, c.timeout, err)
		}
	}
	for line, want := range map[string]string{
		"wait 5s": "wait [--timeout D]", "wait --timeout": "lacks", "wait --timeout 5": "such as",
		"wait --timeout 0s": "more than zero", "wait --timeout -5s": "more than zero",
		"wait --timeout=": "such as", "wait --timeout 5s x": "wait [--timeout D]",
	} {
		if _, err := parse(line, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

func TestLimitReadsItsDirections(t *testing.T) {
	up, down, none := int64(20_000_000), int64(1<<20), int64(0)
	for line, want := range map[string]command{
		"limit":                           {verb: "limit"},
		"limit up 20MB":                   {verb: "limit", limits: control.LimitChange{Up: &up}},
		"limit down 1MiB/s up 20MB":       {verb: "limit", limits: control.LimitChange{Up: &up, Down: &down}},
		"limit a.mtorrent":                {verb: "limit", limited: "a.mtorrent"},
		"limit 'my a.mtorrent' down none": {verb: "limit", limited: "my a.mtorrent", limits: control.LimitChange{Down: &none}},
	} {
		got, err := parse(line, "")
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(command{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", line, err, diff)
		}
	}
	for line, want := range map[string]string{
		"limit up": "lacks its rate", "limit up fast": "20MB", "limit up 100": "at least",
		"limit up 1MB up 2MB": "twice", "limit a b": "limit [<filename.mtorrent>]", "limit ''": "empty",
	} {
		if _, err := parse(line, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

func TestShowLineIsStable(t *testing.T) {
	for want, d := range map[string]control.Download{
		"[D] a.iso 42% 1.1 MiB/s 3 peers":                 {Name: "a.iso", State: control.Downloading, Size: 1000, Done: 429, DownRate: 1_200_000, Peers: 3},
		"[D] a.iso 99% 0 B/s 1 peer (no tracker answers)": {Name: "a.iso", State: control.Downloading, Size: 1 << 53, Done: 1<<53 - 1, Peers: 1, Note: "no tracker answers"},
		"[D] a.iso 99% 0 B/s 1 peer (being made durable)": {Name: "a.iso", State: control.Downloading, Size: 1000, Done: 1000, Peers: 1, Note: "being made durable"},
		"[S] my file 100% 2.0 KiB/s up 0 peers":           {Name: "my file", State: control.Seeding, Size: 5, Done: 5, UpRate: 2000},
		"[S] empty 100% 0 B/s up 0 peers":                 {Name: "empty", State: control.Seeding},
		"[!] a.iso disk full":                             {Name: "a.iso", State: control.Failed, Note: "disk full"},
		"[!] a.iso 42% paused (disk full)":                {Name: "a.iso", State: control.NoRoom, Size: 100, Done: 42, Note: "disk full"},
		"[!] a.iso 100% paused":                           {Name: "a.iso", State: control.Paused, Size: 100, Done: 100},
		"[!] a.iso 43% paused":                            {Name: "a.iso", State: control.Paused, Size: 100, Done: 43},
		"[?] a.iso waits to be checked":                   {Name: "a.iso", State: control.Checking, Note: "waits to be checked"},
		"[!] a.iso missing":                               {Name: "a.iso", State: control.Missing},
		`[!] a\x1b[2J\nb its file is gone`:                {Name: "a\x1b[2J\nb", State: control.Missing, Note: "its file is gone"},
	} {
		if got := showLine(d); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestErrorIsOneLineWhateverItHolds(t *testing.T) {
	for want, err := range map[string]error{
		"error: open x : no such file\n":        errors.New("open x: no such file"),
		"error: get : broken\n":                 errors.New("broken"),
		"error: a : b; c\n":                     errors.Join(errors.New("a: b"), errors.New("c")),
		"error: a\\x1b : b\\u202ec\n":           errors.New("a\x1b: b\u202ec"),
		"error: it: has : a colon: in itself\n": &commandError{"it: has", "a colon: in itself"},
	} {
		var b strings.Builder
		printError(&b, "get", err)
		if b.String() != want {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
}
