package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/roles/client/control"
)

func TestBarFitsItsTerminalWhateverIsSaid(t *testing.T) {
	for _, d := range []control.Download{
		{},
		{Name: "data.bin", State: control.Downloading, Size: 100, Done: 50, DownRate: 10, Peers: 3},
		{Name: strings.Repeat("ä", 300), State: control.Downloading, Size: 1 << 50, Done: 1<<50 - 1, DownRate: 1e12, Note: strings.Repeat("n", 200)},
		{Name: "a\nb\x1b[2J", State: control.Seeding, Size: 1, Done: 1},
	} {
		for columns := range 200 {
			line := barLine(d, columns)
			if n := utf8.RuneCountInString(line); n >= columns && columns > 0 || columns == 0 && n > 0 {
				t.Errorf("%d columns: %q has %d", columns, line, n)
			}
			if strings.ContainsAny(line, "\n\r\x1b") {
				t.Errorf("a terminal would obey %q", line)
			}
		}
	}
	got := barLine(control.Download{Name: "data.bin", State: control.Downloading, Size: 100, Done: 50, DownRate: 10, Peers: 3}, 80)
	if want := "data.bin [############............]  50% 10 B/s, 3 peers, 5s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// scripted is an API whose torrents go through these, one a look.
type scripted struct {
	control.API
	looks [][]control.Download
}

func (s *scripted) Downloads(context.Context) ([]control.Download, error) {
	now := s.looks[0]
	if len(s.looks) > 1 {
		s.looks = s.looks[1:]
	}
	return now, nil
}

func TestFollowedDownloadEndsWithWhatBecameOfIt(t *testing.T) {
	at := func(state control.State, done int64) []control.Download {
		return []control.Download{{ID: "x"}, {ID: "a", Name: "data", State: state, Size: 10, Done: done}}
	}
	for name, c := range map[string]struct {
		looks  [][]control.Download
		code   int // of an exitError
		err    string
		events string
	}{
		"whole":   {looks: [][]control.Download{at(control.Downloading, 1), at(control.Downloading, 2), at(control.Seeding, 10)}, events: "progress progress"},
		"failed":  {looks: [][]control.Download{at(control.Downloading, 1), at(control.Failed, 1)}, err: "data: failed, 10% done", events: "progress failed"},
		"missing": {looks: [][]control.Download{at(control.Missing, 0)}, err: "data: missing, 0% done", events: "failed"},
		"paused":  {looks: [][]control.Download{at(control.Paused, 5)}, err: "data: paused, 50% done", events: "failed"},
		"removed": {looks: [][]control.Download{at(control.Downloading, 1), {{ID: "x"}}}, err: "it was removed meanwhile", events: "progress"},
		"stuck":   {looks: [][]control.Download{at(control.NoRoom, 1)}, code: exitTimeout, err: "data: 10% done after 1ms", events: "progress timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, plain bytes.Buffer
			f := newFollower(&scripted{looks: c.looks}, &out, &plain, true)
			timeout := time.Duration(0)
			if c.code == exitTimeout {
				timeout = time.Millisecond
			}
			d, err := f.until(t.Context(), "a", timeout, control.Download.Whole)
			if text := errText(err); text != c.err {
				t.Errorf("%q, want %q", text, c.err)
			}
			var exit *exitError
			if errors.As(err, &exit) != (c.code != 0) {
				t.Errorf("%v: exit code %v", err, exit)
			}
			if err == nil && !d.Whole() {
				t.Errorf("ended with %+v", d)
			}
			var events []string
			for line := range strings.Lines(out.String()) {
				_, rest, _ := strings.Cut(line, `{"event":"`)
				what, _, _ := strings.Cut(rest, `"`)
				events = append(events, what)
			}
			if got := strings.Join(events, " "); got != c.events || plain.Len() > 0 {
				t.Errorf("events %q, want %q; besides %q", got, c.events, &plain)
			}
		})
	}
}

func TestWhatABarHasNoRoomForIsWrittenAboveItOnce(t *testing.T) {
	at := func(note string) []control.Download {
		return []control.Download{{ID: "a", Name: "data", State: control.Downloading, Size: 10, Note: note}}
	}
	long := "no tracker has answered yet: 10.0.0.1:7000, 10.0.0.2:7000"
	var plain bytes.Buffer
	f := newFollower(&scripted{looks: [][]control.Download{
		at("gone at once: " + long), at(long), at(long), at(long), at("short"), at("short"),
		{{ID: "a", State: control.Seeding, Size: 10, Done: 10}},
	}}, io.Discard, &plain, false)
	f.term = 80
	if _, err := f.until(t.Context(), "a", 0, control.Download.Whole); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(plain.String()) {
		if line, ended := strings.CutSuffix(line, "\n"); ended {
			lines = append(lines, line[strings.LastIndexByte(line, '\r')+1:])
		}
	}
	if diff := cmp.Diff([]string{"data: " + long}, lines); diff != "" {
		t.Error(diff)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNamesOfferedToTheShellTellTorrentsApart(t *testing.T) {
	list := []control.Download{
		{Mtorrent: "/a/x.mtorrent", Name: "1", State: control.Paused},
		{Mtorrent: "/b/x.mtorrent", Name: "2", State: control.Seeding},
		{Mtorrent: "/b/y.mtorrent", Name: "3", State: control.Downloading, Size: 2, Done: 1},
		{Mtorrent: "/b/z.mtorrent", Name: "4", State: control.Seeding},
	}
	want := []string{"/a/x.mtorrent\tpaused, 100%", "/b/x.mtorrent\tseeding, 100%", "y.mtorrent\tdownloading, 50%"}
	if diff := cmp.Diff(want, torrentNames(list, []string{"z.mtorrent"})); diff != "" {
		t.Error(diff)
	}
}

func TestShellTakesAQuotedNameForOneWord(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	for _, name := range []string{"x.mtorrent", "my file", "it's", `a"b$c\d`, "*", "ä ö", "~", "a;b", "#x"} {
		out, err := exec.CommandContext(t.Context(), sh, "-c", "printf %s "+shellWord(name)).Output()
		if err != nil || string(out) != name {
			t.Errorf("%q became %s, and that %q (%v)", name, shellWord(name), out, err)
		}
	}
	for _, name := range []string{"a\x1b]0;b\a'\\\u202ec\xffd", "-\n7"} {
		word := shellWord(name)
		if visible(word) != word {
			t.Errorf("a terminal would obey %q", word)
		}
		bash, err := exec.LookPath("bash")
		if err != nil {
			continue // not every sh has such quotes
		}
		out, err := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+word).Output()
		if got := strings.TrimPrefix(string(out), "./"); err != nil || got != name {
			t.Errorf("%q became %s, and that %q (%v)", name, word, got, err)
		}
	}
	if got := shellWord("-x.mtorrent"); !strings.HasPrefix(got, "./") {
		t.Errorf("%q would be a flag", got)
	}
}

func TestJSONOfAnyNameShowsAsItIsAndReadsAsTheName(t *testing.T) {
	name := "é<b>\x1b[2J\u0085\u202egpj.exe\U000e0041"
	for what, write := range map[string]func(io.Writer, any) error{"an object": writeJSON, "a line": writeLine} {
		var b strings.Builder
		if err := write(&b, control.Download{Name: name}); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(b.String(), "\n", ""); visible(got) != got {
			t.Errorf("%s: a terminal would obey %q", what, got)
		}
		var got control.Download
		if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got.Name != name {
			t.Errorf("%s: %q, %v", what, got.Name, err)
		}
	}
}

func FuzzSeedUntil(f *testing.F) {
	for _, s := range []string{"1.5", "24h", "-1", "0", "NaN", "inf", "1e308", "1h1", "", "0x1p-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		goal, err := parseGoal(s)
		switch {
		case err != nil:
			if goal != nil {
				t.Errorf("%q: %+v, %v", s, goal, err)
			}
		case goal.Ratio > 0 == (goal.Seconds > 0):
			t.Errorf("%q: %+v", s, goal)
		}
	})
}
