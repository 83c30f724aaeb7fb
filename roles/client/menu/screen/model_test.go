package screen

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/menu"
)

// driver feeds a model with messages, and keeps what it does.
type driver struct {
	t      *testing.T
	m      model
	pushed []string // lines that were entered
	room   int      // for so many more
	ended  bool
	said   []string
	cmd    tea.Cmd // of the last message
}

func drive(t *testing.T, columns, rows int) *driver {
	t.Helper()
	d := &driver{t: t, room: 1000}
	d.m = newModel(t.Context(), &fake{}, openHistory(""), "/home/ann")
	d.m.push = func(line string) bool {
		if d.room == 0 {
			return false
		}
		d.room--
		d.pushed = append(d.pushed, line)
		return true
	}
	d.m.end = func() { d.ended = true }
	d.m.say = func(text string) { d.said = append(d.said, strings.Split(text, "\n")...) }
	d.m.width = func(int) {}
	d.send(tea.WindowSizeMsg{Width: columns, Height: rows})
	return d
}

func (d *driver) send(msgs ...tea.Msg) {
	for _, msg := range msgs {
		next, cmd := d.m.Update(msg)
		d.m, d.cmd = next.(model), cmd
	}
}

var named = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "tab": {Code: tea.KeyTab}, "up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown},
	"left": {Code: tea.KeyLeft}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd}, "backspace": {Code: tea.KeyBackspace},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "ctrl+d": {Code: 'd', Mod: tea.ModCtrl}, "ctrl+z": {Code: 'z', Mod: tea.ModCtrl},
	"ctrl+w": {Code: 'w', Mod: tea.ModCtrl}, "ctrl+u": {Code: 'u', Mod: tea.ModCtrl},
}

// keys presses keys: those with a name, else each character of a text.
func (d *driver) keys(list ...string) {
	for _, k := range list {
		if key, ok := named[k]; ok {
			d.send(key)
			continue
		}
		for _, r := range k {
			d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

func (d *driver) run(cmd tea.Cmd) {
	if msg := cmd(); msg != nil {
		d.send(msg)
	}
}

// view is what is drawn, without its colours.
func (d *driver) view() []string {
	return strings.Split(ansi.Strip(d.m.View().Content), "\n")
}

func (d *driver) line() string { return d.m.input.Value() }

func (d *driver) want(line string) {
	d.t.Helper()
	if d.line() != line {
		d.t.Fatalf("the line is %q: want %q", d.line(), line)
	}
}

func TestHistoryGoesUpAndDownAndBackToTheDraft(t *testing.T) {
	d := drive(t, 80, 24)
	d.keys("help", "enter", "wait", "enter", "wait", "enter", " secret", "enter", "", "enter", "dra", "up")
	d.want("wait")
	d.keys("up")
	d.want("help")
	d.keys("up")
	d.want("help")
	d.keys("x", "down", "down", "down")
	d.want("dra")
	if want := []string{"help", "wait", "wait", " secret", ""}; !slices.Equal(d.pushed, want) {
		t.Errorf("entered %q", d.pushed)
	}
}

func TestLineIsEditedInPlace(t *testing.T) {
	d := drive(t, 80, 24)
	d.keys("gt x", "home", "left")
	d.keys("end", "left", "left", "left", "e")
	d.want("get x")
	d.keys("end", "ctrl+w", "y")
	d.want("get y")
	d.keys("ctrl+u", "čšž日本", "backspace")
	d.want("čšž日")
}

func TestCtrlCAsksOnceWhileTransfersRun(t *testing.T) {
	for name, list := range map[string][]control.Download{
		"1 transfer runs":  {loading("a", 5), {ID: "s", State: control.Seeding}},
		"2 transfers run":  {loading("a", 5), {ID: "s", State: control.Seeding, UpRate: 100}},
		"3 transfers run:": {loading("a", 5), loading("b", 5), loading("c", 5)},
	} {
		d := drive(t, 80, 24)
		d.m.list = list
		d.keys("half a line", "ctrl+c")
		d.want("")
		if d.m.leaving || !strings.HasPrefix(d.view()[len(d.view())-1], name) {
			t.Fatalf("it shows %q", d.view())
		}
		d.keys("x", "ctrl+c") // another key, and it is asked anew
		if d.m.leaving {
			t.Fatal("left without being asked")
		}
		d.keys("ctrl+c")
		if !d.m.leaving || !d.m.interrupted || d.m.View().Content != "" {
			t.Error("the second one does not leave")
		}
	}
}

func TestCtrlCLeavesAtOnceWhileNothingRuns(t *testing.T) {
	d := drive(t, 80, 24)
	d.m.list = []control.Download{{State: control.Seeding}, {State: control.Paused}}
	d.keys("half a line", "ctrl+c")
	d.want("")
	if d.m.leaving {
		t.Fatal("a line that was typed is given up first")
	}
	d.keys("ctrl+c")
	if !d.m.interrupted {
		t.Error("it stays")
	}
}

func TestCtrlCAsksOnceWhileAFileIsHashed(t *testing.T) {
	d := drive(t, 80, 24)
	d.send(progressMsg{name: "x", done: 1, total: 2})
	d.keys("ctrl+c")
	if d.m.leaving || !strings.Contains(d.m.hint, "hashed") {
		t.Fatalf("%q", d.m.hint)
	}
	d.send(progressMsg{name: "x"})
	d.keys("x", "ctrl+c", "ctrl+c")
	if !d.m.interrupted {
		t.Error("it stays")
	}
}

func TestCtrlDIsQuitOnAnEmptyLineAlone(t *testing.T) {
	d := drive(t, 80, 24)
	d.keys("ab", "home", "ctrl+d")
	d.want("b")
	if d.ended {
		t.Fatal("quit with a line in hand")
	}
	d.keys("ctrl+d", "ctrl+d")
	if !d.ended || d.m.interrupted {
		t.Error("no quit")
	}
	d.keys("help", "enter")
	if len(d.pushed) > 0 {
		t.Errorf("%q after the end", d.pushed)
	}
}

func TestPasteEntersEachLineButTheLast(t *testing.T) {
	d := drive(t, 80, 24)
	d.keys("get ")
	d.send(tea.PasteMsg{Content: "a .\r\nget\tb .\n\x1b[2Jget c"})
	if want := []string{"get a .", "get b ."}; len(d.pushed) != 2 || d.pushed[0] != want[0] || strings.Join(strings.Fields(d.pushed[1]), " ") != want[1] {
		t.Errorf("entered %q", d.pushed)
	}
	if strings.ContainsRune(d.line(), '\x1b') {
		t.Errorf("the line is %q", d.line())
	}
}

func TestPasteThatDoesNotFitMergesNoLines(t *testing.T) {
	d := drive(t, 80, 24)
	d.room = 2
	d.send(tea.PasteMsg{Content: "one\ntwo\nthree\nfour\nfive"})
	d.want("three")
	if len(d.pushed) != 2 || !strings.Contains(d.m.hint, "last 2 lines") {
		t.Errorf("entered %q, %q", d.pushed, d.m.hint)
	}
	d.keys("enter")
	d.want("three")
	d.room = 1
	d.keys("enter")
	d.want("")
}

func TestEndsAreSaidOnce(t *testing.T) {
	d := drive(t, 80, 24)
	whole := control.Download{ID: "w", Name: "w", State: control.Seeding, Size: 5, Done: 5}
	broken := control.Download{ID: "m", Name: "m", State: control.Missing}
	hear := func(list ...control.Download) tea.Cmd {
		next, cmd := d.m.heard(list)
		d.m = next.(model)
		return cmd
	}
	hear(whole, broken, loading("a", 0))
	done := loading("a", 0)
	done.State, done.Done = control.Seeding, done.Size
	failed := control.Download{ID: "f", Name: "f\x1b[2J\n", State: control.Failed, Note: "disk\u202egone"}
	shared := control.Download{ID: "s", Name: "s", State: control.Seeding, Size: 1, Done: 1}
	quick := control.Download{ID: "q", Name: "q", State: control.Seeding, Size: 1, Done: 1, Path: "/q", Sources: map[string]int{"tcp x": 1}}
	all, ok := hear(whole, broken, done, failed, shared, quick)().(tea.BatchMsg)
	if !ok || len(all) != 2 {
		t.Fatal("nothing is said")
	}
	all[0]()
	want := []string{"complete a: 954 MiB, /data/a", `error: f\x1b[2J\n : disk\u202egone`, "complete q: 1 B, /q"}
	if !slices.Equal(d.said, want) {
		t.Fatalf("said %q", d.said)
	}
	checking := done
	checking.State = control.Checking
	for _, a := range []control.Download{done, checking, done} {
		before := d.m.seen
		hear(whole, broken, a, failed, shared, quick)
		for id, s := range d.m.seen {
			if s.running || s.stopped != before[id].stopped {
				t.Errorf("%s has ended again: %+v", id, s)
			}
		}
	}
}

func TestKeysAfterATabWaitForWhatItGives(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"alpha one.mtorrent", "alpha two.mtorrent", "alps.txt", ".hidden.mtorrent", "bad\x1b.mtorrent"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	d := drive(t, 60, 24)
	d.keys("get al", "tab")
	found := d.cmd
	d.keys("two", "tab") // typed before the folder was read
	d.want("get al")
	d.run(found)
	d.want(`get alpha\ two`)
	d.run(d.lastFind())
	d.want(`get alpha\ two.mtorrent `)
	d.keys("fo", "tab")
	d.run(d.cmd)
	d.want(`get alpha\ two.mtorrent folder/`)

	// Two Tabs list what there is.
	d.keys("ctrl+u", "get alpha", "tab")
	d.run(d.cmd)
	d.want(`get alpha\ `)
	for range 2 {
		d.keys("tab")
		d.run(d.cmd)
	}
	if d.cmd == nil {
		t.Fatal("nothing is listed")
	}
	d.cmd()
	if want := []string{"alpha one.mtorrent  alpha two.mtorrent"}; !slices.Equal(d.said, want) {
		t.Errorf("listed %q", d.said)
	}

	// Ctrl-C gives it up.
	d.keys("ctrl+u", "get al", "tab")
	found = d.cmd
	d.keys("ctrl+c", "help")
	d.run(found)
	d.want("help")
}

// lastFind looks again for what completes the line: the command of a Tab among
// the held keys is within a batch.
func (d *driver) lastFind() tea.Cmd {
	line := *d.m.finding
	return func() tea.Msg { return foundMsg{line: line, found: look(menu.Complete(line, d.m.home), d.m.list)} }
}

func TestCompletionKnowsCommandsAndTorrents(t *testing.T) {
	d := drive(t, 80, 24)
	d.m.list = []control.Download{loading("it's a", 1), loading("b", 1)}
	for typed, want := range map[string]string{
		"rel": "relocate ", "show p": "show peers ", "help rem": "help remove ", "wait -": "wait --timeout ",
		"pause it": `pause it\'s\ a.mtorrent `, `remove "it`: `remove "it's a.mtorrent" `, "limit b": "limit b.mtorrent ",
		"frob x": "frob x", "x\\": "x\\", "limit b.mtorrent u": "limit b.mtorrent up ",
	} {
		d.keys("ctrl+u", typed, "tab")
		d.run(d.cmd)
		d.want(want)
	}
	d.keys("ctrl+u", "help sh x", "left", "left", "tab")
	d.run(d.cmd)
	d.want("help sh x") // share and show
}

// TestFrameIsNeverLargerThanTheTerminal: of any size, with anything running and
// typed, and with names that would rule the terminal.
func TestFrameIsNeverLargerThanTheTerminal(t *testing.T) {
	for columns := 10; columns <= 130; columns++ {
		for _, rows := range []int{2, 3, 4, 5, 8, 24} {
			d := drive(t, columns, rows)
			d.m.list = []control.Download{
				loading("evil\x1b[2J\u202e\n日本語日本語.iso", 999), loading(strings.Repeat("long ", 50), 1e9-1), loading("", 0),
				loading("c", 1), loading("d", 1), loading("e", 1), loading("f", 1), loading("g", 1), loading("h", 1), loading("i", 1),
			}
			d.m.list[1].State, d.m.list[2].Size = control.NoRoom, 0
			d.keys("show downloads and more than fits into a line")
			d.send(progressMsg{name: "/x/日本\x1b.iso", done: 5, total: 10})
			for _, hint := range []string{"", "a hint that is longer than many terminals are wide"} {
				d.m.hint = hint
				view := d.view()
				if len(view) > max(rows-1, 1) {
					t.Fatalf("%d rows on a terminal of %d", len(view), rows)
				}
				for _, row := range view {
					if ansi.StringWidth(row) > columns || strings.ContainsAny(row, "\x1b\u202e") {
						t.Fatalf("%d columns on a terminal of %d: %q", ansi.StringWidth(row), columns, row)
					}
				}
				if rows > 2 && !slices.ContainsFunc(view, func(row string) bool { return strings.Contains(row, promptMark) }) {
					t.Fatalf("no prompt: %q", view)
				}
			}
		}
	}
}

func TestSuspendIsLeftToTheProgram(t *testing.T) {
	d := drive(t, 80, 24)
	d.keys("abc", "ctrl+z")
	both, ok := d.cmd().(tea.BatchMsg)
	if !ok || len(both) != 2 {
		t.Fatal("no suspension")
	}
	if _, ok := both[0]().(tea.SuspendMsg); !ok {
		t.Error("no suspension")
	}
	d.send(tea.ResumeMsg{})
	if msg := both[1](); msg != nil { // ends with the suspension
		t.Error(msg)
	}
	d.want("abc")
}
