package screen

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/menu"
)

const (
	// lookEvery is how often the client is asked what runs.
	lookEvery = 500 * time.Millisecond
	// lookFor bounds one such question: a client of this process answers at once.
	lookFor = 5 * time.Second
	// mostHeld bounds what is typed ahead while a folder is read.
	mostHeld = 1024
	// wakeAfter is how long the system has to stop the program.
	wakeAfter = time.Second
	// usualWidth is taken until the terminal has said its own.
	usualWidth, usualHeight = 80, 24
	// narrow is a terminal, in columns, that has no room for the whole prompt.
	narrow = 24
	// promptMark ends every prompt; no frame is without one.
	promptMark = "> "
)

// The messages of the model, besides those of the library.
type (
	lookMsg  struct{}           // time to ask what runs
	listMsg  []control.Download // what the client answered; nil when it did not
	leaveMsg struct{}           // the menu has ended
	foundMsg struct {           // what may complete a line
		line  string // as it was when that was asked
		found candidates
	}
	progressMsg struct { // how far a file is hashed; no total: it is done
		name        string
		done, total int64
	}
)

// model is all that the screen shows. Update is the only one to change it.
type model struct {
	ctx   context.Context
	api   control.API
	push  func(line string) bool // hands a line to the menu; false when too many wait
	end   func()                 // says that no line follows
	say   func(text string)      // puts lines above the bars; not within Update
	width func(columns int)      // is told the width
	past  *history
	home  string

	input   textinput.Model
	columns int
	rows    int
	list    []control.Download // as last heard
	seen    map[string]seen    // by ID
	first   bool               // the list has not been heard yet
	hashing progressMsg
	hint    string // beneath the prompt, until the next key
	// asked says that Ctrl-C was pressed while transfers run; the next one leaves.
	asked       bool
	interrupted bool
	leaving     bool
	ended       bool   // no line follows
	resumed     func() // is called after a suspension
	ahead       int    // lines that the menu has not begun with
	listed      string // the line whose candidates were shown by a first Tab
	// finding is the line that candidates are looked for, nil for none; keys that
	// come meanwhile are held until they are found.
	finding *string
	held    []tea.Msg
}

// seen is what was known of a torrent at the last look.
type seen struct {
	running bool // it was on its way
	stopped bool
	since   time.Time // when it was first seen
	had     int64     // what was there of it then, bytes
}

func newModel(ctx context.Context, api control.API, past *history, home string) model {
	in := textinput.New()
	in.Prompt = menu.Prompt
	in.CharLimit = menu.MaxLine
	in.KeyMap.Paste.SetEnabled(false) // the terminal pastes; nobody else's clipboard is asked
	styles := textinput.Styles{}
	styles.Cursor.Blink = false // a frame every half second is too much for a slow link
	in.SetStyles(styles)
	in.Focus()
	return model{
		ctx: ctx, api: api, past: past, home: home,
		input: in, columns: usualWidth, rows: usualHeight, seen: map[string]seen{}, first: true,
	}
}

// Init begins to look at what runs.
func (m model) Init() tea.Cmd { return m.look }

// look asks the client what runs.
func (m model) look() tea.Msg {
	ctx, done := context.WithTimeout(m.ctx, lookFor)
	defer done()
	list, err := m.api.Downloads(ctx)
	if err != nil {
		return listMsg(nil) // a client that ends does not answer
	}
	if list == nil {
		list = []control.Download{}
	}
	return listMsg(list)
}

// Update applies one message.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.columns, m.rows = max(msg.Width, 1), max(msg.Height, 1)
		m.width(m.columns)
		m.input.Prompt = menu.Prompt
		if m.columns < narrow {
			m.input.Prompt = promptMark
		}
		m.input.SetWidth(max(m.columns-len(m.input.Prompt)-1, 1))
		m.input.SetCursor(m.input.Position()) // has the part that is shown follow
	case lookMsg:
		return m, m.look
	case listMsg:
		return m.heard(msg)
	case progressMsg:
		m.hashing = msg
	case begunMsg:
		m.ahead--
	case tea.ResumeMsg:
		m.resumed()
	case leaveMsg:
		m.leaving = true
		return m, tea.Quit
	case foundMsg:
		if m.finding == nil || *m.finding != msg.line {
			return m, nil // given up
		}
		m.finding = nil
		next, cmd := m.complete(msg)
		cmds := []tea.Cmd{cmd}
		for i, key := range m.held {
			after := next.(model)
			if after.finding != nil { // another Tab
				after.held = m.held[i:]
				return after, tea.Batch(cmds...)
			}
			after.held = nil
			next, cmd = after.Update(key)
			cmds = append(cmds, cmd)
		}
		return next, tea.Batch(cmds...)
	case tea.PasteMsg:
		if m.finding != nil {
			return m.hold(msg)
		}
		return m.paste(msg.Content)
	case tea.KeyPressMsg:
		if m.finding != nil && msg.String() != "ctrl+c" {
			return m.hold(msg)
		}
		return m.key(msg)
	}
	return m, nil
}

// hold keeps what was typed while a folder is read: what is typed after a Tab
// stands after what the Tab gave.
func (m model) hold(msg tea.Msg) (tea.Model, tea.Cmd) {
	if len(m.held) < mostHeld {
		m.held = append(m.held[:len(m.held):len(m.held)], msg)
	}
	return m, nil
}

// key applies a key.
func (m model) key(msg tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	if msg.String() == "ctrl+c" {
		return m.interrupt()
	}
	m.asked, m.hint = false, ""
	listed := m.listed
	m.listed = ""
	switch msg.String() {
	case "enter", "ctrl+j": // a line feed is what programs that type send
		return m.enter()
	case "ctrl+d":
		if m.input.Value() == "" {
			m.ended = true
			m.end()
			return m, nil
		}
	case "ctrl+z":
		return m.suspend()
	case "ctrl+l":
		return m, tea.ClearScreen
	case "up", "ctrl+p":
		m.set(m.past.older(m.input.Value()))
		return m, nil
	case "down", "ctrl+n":
		m.set(m.past.newer(m.input.Value()))
		return m, nil
	case "tab":
		m.listed = listed
		return m.find()
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	return m, cmd
}

// suspend stops the program until the shell takes it up again. Where no shell
// would (it is the first program of its terminal), the system does not stop it,
// and the library would wait for good: so it is woken again and again until it
// goes on, which says nothing to one that is stopped.
func (m model) suspend() (tea.Model, tea.Cmd) {
	ctx, resumed := context.WithCancel(m.ctx)
	m.resumed = resumed
	return m, tea.Batch(tea.Suspend, func() tea.Msg {
		tick := time.NewTicker(wakeAfter)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				wake()
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// set has the prompt show a line, with the cursor at its end.
func (m *model) set(line string) {
	m.input.SetValue(line)
	m.input.CursorEnd()
}

// enter hands the line to the menu.
func (m model) enter() (tea.Model, tea.Cmd) {
	m.entered()
	return m, nil
}

// entered is false when the line stays where it is, since too many wait.
func (m *model) entered() bool {
	line := m.input.Value()
	if m.ended {
		return false
	}
	if !m.push(line) {
		m.hint = "too many commands wait: press Enter again when one is done"
		return false
	}
	m.ahead++
	m.past.add(line)
	m.set("")
	return true
}

// paste types what was pasted; each line of it but the last is entered. Where
// that cannot be, the rest is left out: two lines must not become one.
func (m model) paste(text string) (tea.Model, tea.Cmd) {
	m.asked, m.hint, m.listed = false, "", ""
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i, line := range lines {
		m.input, _ = m.input.Update(tea.PasteMsg{Content: line})
		if i < len(lines)-1 && !m.entered() {
			m.hint = fmt.Sprintf("too many commands wait: the last %d lines of what was pasted are left out", len(lines)-1-i)
			break
		}
	}
	return m, nil
}

// interrupt leaves, but asks first while transfers run or a file is hashed. A line that is being
// typed is given up.
func (m model) interrupt() (tea.Model, tea.Cmd) {
	running := 0
	for _, d := range m.list {
		if !d.Whole() && d.State == control.Downloading || d.UpRate >= 1 {
			running++
		}
	}
	hashing := m.hashing.total > 0
	typed := m.input.Value() != "" || m.finding != nil
	m.finding, m.held = nil, nil
	m.set("")
	switch {
	case m.asked || running == 0 && !hashing && !typed:
		m.interrupted, m.leaving = true, true
		return m, tea.Quit
	case running > 0:
		m.asked = true
		m.hint = count(running, "transfer") + ": Ctrl-C again quits, downloads go on at the next start"
	case hashing:
		m.asked = true
		m.hint = "a file is being hashed: Ctrl-C again quits"
	}
	return m, nil
}

// heard takes what the client said of its torrents, and says above the prompt
// which have ended.
func (m model) heard(list listMsg) (tea.Model, tea.Cmd) {
	if list == nil {
		return m, m.later
	}
	now := time.Now()
	known := make(map[string]seen, len(list))
	var news []string
	for _, d := range list {
		before, met := m.seen[d.ID]
		if !met {
			// What stood still when the menu began is no news, nor is what was shared.
			before = seen{running: !m.first && len(d.Sources) > 0, stopped: m.first, since: now, had: d.Done}
		}
		after := before
		after.stopped = d.State == control.Failed || d.State == control.Missing
		switch {
		case d.State == control.Downloading || d.State == control.NoRoom:
			after.running = true
		case d.Whole():
			after.running = false
			if before.running {
				news = append(news, completeLine(d, before, now))
			}
		case after.stopped && !before.stopped:
			news = append(news, stoppedLine(d))
		}
		known[d.ID] = after
	}
	m.list, m.seen, m.first = list, known, false
	if len(news) > 0 {
		return m, tea.Batch(m.above(strings.Join(news, "\n")), m.later)
	}
	return m, m.later
}

// later is when to look again.
func (m model) later() tea.Msg {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return lookMsg{}
	case <-m.ctx.Done():
		return nil
	}
}

// above is a command that says something.
func (m model) above(text string) tea.Cmd {
	return func() tea.Msg {
		m.say(text)
		return nil
	}
}

// find looks for what may complete the line before the cursor.
func (m model) find() (tea.Model, tea.Cmd) {
	line := string([]rune(m.input.Value())[:m.input.Position()])
	c := menu.Complete(line, m.home)
	list := m.list
	m.finding = &line
	return m, func() tea.Msg { return foundMsg{line: line, found: look(c, list)} }
}

// complete puts what was found into the line, if it is still the same.
func (m model) complete(msg foundMsg) (tea.Model, tea.Cmd) {
	value := []rune(m.input.Value())
	at := m.input.Position()
	if string(value[:at]) != msg.line {
		return m, nil
	}
	line, sure := msg.found.apply(msg.line)
	tail := string(value[at:])
	if sure && strings.HasPrefix(tail, " ") {
		line = strings.TrimSuffix(line, " ")
	}
	m.input.SetValue(line + tail)
	m.input.SetCursor(len([]rune(line)))
	if sure || line != msg.line || len(msg.found.list) == 0 {
		return m, nil
	}
	if m.listed != line { // a second Tab lists them
		m.listed = line
		return m, nil
	}
	return m, m.above(msg.found.columns(m.columns - 1))
}

// View draws bars, prompt and hint. It leaves a row of the terminal free, which
// what is said above passes through.
func (m model) View() tea.View {
	if m.leaving {
		return tea.NewView("")
	}
	free := m.rows - 1
	below := []string{m.input.View()}
	if hint := m.below(); hint != "" {
		hint = lipgloss.NewStyle().Faint(true).Render(fit(hint, m.columns))
		if free < 2 {
			return tea.NewView(hint)
		}
		below = append(below, hint)
	}
	if m.hashing.total > 0 && len(below) < free {
		done := m.hashing.done * 100 / m.hashing.total
		below = append([]string{fit(fmt.Sprintf("hashing %s %d%%", shown(filepath.Base(m.hashing.name)), done), m.columns)}, below...)
	}
	return tea.NewView(strings.Join(append(bars(m.list, m.columns, free-len(below)), below...), "\n"))
}

// below is what stands beneath the prompt.
func (m model) below() string {
	switch {
	case m.hint != "":
		return m.hint
	case m.ended:
		return "quits when the command before is done; Ctrl-C quits at once"
	case m.ahead > 0:
		return fmt.Sprintf("%s when the command before is done", count(m.ahead, "command"))
	}
	return ""
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what + " runs"
	}
	return fmt.Sprintf("%d %ss run", n, what)
}
