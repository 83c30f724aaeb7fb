//go:build unix

package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/menu"
	"github.com/mtor-dev/mtor/roles/client/menu/screen/screentest"
)

// running is a menu on a terminal.
type running struct {
	*screentest.Terminal
	t    *testing.T
	api  *fake
	log  io.Writer
	over chan struct{}
	res  menu.Result
	err  error
}

// on runs a menu until the test ends.
func on(t *testing.T, x *screentest.Terminal, api *fake, history string) *running {
	t.Helper()
	t.Setenv("TERM", "xterm-256color")
	ctx, leave := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{Terminal: x, t: t, api: api, over: make(chan struct{})}
	diverted := make(chan io.Writer, 1)
	go func() {
		defer close(r.over)
		r.res, r.err = Run(ctx, Options{In: x.Program, Out: x.Program, API: api, History: history, Divert: func(w io.Writer) func() {
			diverted <- w
			return func() {}
		}})
	}()
	t.Cleanup(func() {
		leave()
		<-r.over
	})
	r.log = <-diverted
	x.Until("a prompt", func(rows []string) bool { return len(rows) > 0 && strings.HasSuffix(rows[len(rows)-1], ">") })
	return r
}

func TestLinesAboveNeverBreakWhatIsTyped(t *testing.T) {
	api := &fake{list: []control.Download{loading("a.iso", 100)}, step: func(look int, list []control.Download) {
		list[0].Done = int64(look) * 7_654_321 % list[0].Size
	}}
	r := on(t, screentest.New(t, 60, 10), api, "")
	var typed strings.Builder
	for i := range 25 {
		key := string(rune('a' + i%26))
		typed.WriteString(key)
		r.Type(key)
		long := strings.Repeat("x", i*13) // of up to six rows, and of just one
		if _, err := fmt.Fprintf(r.log, "log %d %s\n", i, long); err != nil {
			t.Fatal(err)
		}
		rows := r.Ends("mtor> " + typed.String())
		bar := len(rows) - 2
		if !strings.HasPrefix(rows[bar], "a.iso") || !strings.Contains(rows[bar], "12.3 MB/s") {
			t.Fatalf("no bar above the prompt:\n%s", strings.Join(rows, "\n"))
		}
		if n := screentest.Row(rows, "a.iso"); n != bar {
			t.Fatalf("a bar is left above:\n%s", strings.Join(rows, "\n"))
		}
	}
	if n := strings.Count(strings.Join(r.Screen(), "\n"), "mtor>"); n != 1 {
		t.Errorf("%d prompts:\n%s", n, strings.Join(r.Screen(), "\n"))
	}
}

// TestMoreThanAScreenIsSaidInOrder: each row is there once, in its order, and the
// prompt stands below.
func TestMoreThanAScreenIsSaidInOrder(t *testing.T) {
	for _, size := range [][2]int{{40, 5}, {10, 4}, {80, 3}, {40, 2}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := on(t, screentest.New(t, size[0], size[1]), &fake{list: []control.Download{loading("a", 5), loading("b", 6)}}, "")
			prompt := "mtor>"
			if size[0] < narrow {
				prompt = ">"
			}
			if size[1] > 3 {
				r.Shows("b")
			}
			for i := range 50 {
				if _, err := fmt.Fprintf(r.log, "line %d\n", i); err != nil {
					t.Fatal(err)
				}
			}
			rows := r.Ends(prompt)
			r.Shows("line 49")
			if size[1] > 3 && screentest.Row(rows, "b") < 0 {
				t.Errorf("the bars are gone:\n%s", strings.Join(rows, "\n"))
			}
			last := -1
			for _, row := range strings.Split(r.Raw(), "line ")[1:] {
				var n int
				if _, err := fmt.Sscan(row, &n); err != nil || n != last+1 {
					t.Fatalf("after line %d: %q", last, row)
				}
				last = n
			}
			r.Type("help")
			r.Ends(prompt + " help")
		})
	}
}

func TestWhatIsSaidBeforeTheFirstFrameAndAfterTheLastIsNotLost(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	x := screentest.New(t, 60, 8)
	if _, err := x.Program.WriteString("what the shell said\r\n"); err != nil {
		t.Fatal(err)
	}
	x.Shows("what the shell said")
	diverted, over := make(chan io.Writer, 1), make(chan error, 1)
	go func() {
		_, err := Run(t.Context(), Options{In: x.Program, Out: x.Program, API: &fake{}, Divert: func(w io.Writer) func() {
			diverted <- w
			return func() {}
		}})
		over <- err
	}()
	w := <-diverted
	if _, err := io.WriteString(w, "early\n"); err != nil {
		t.Fatal(err)
	}
	x.Type("z")
	x.Ends("mtor> z")
	x.Type(screentest.CtrlC, screentest.CtrlC)
	if err := <-over; !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "late\n"); err != nil {
		t.Fatal(err)
	}
	rows := x.Shows("late")
	if want := []string{"what the shell said", "early", "late"}; strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("the screen shows\n%s", strings.Join(rows, "\n"))
	}
}

func TestAPasteOfSeveralLinesHasEachAnswerBeneathItsLine(t *testing.T) {
	r := on(t, screentest.New(t, 100, 40), &fake{}, "")
	r.Type(screentest.Pasted("show downloads\nhelp quit\r\nhelp wait\nshow d"))
	rows := r.Ends("mtor> show d")
	want := []string{
		"mtor> show downloads", "no downloads", "mtor> help quit", "quit", "  leave all seeder lists and end",
		"  Downloads go on at the next start.", "mtor> help wait", "wait [--timeout D]",
		"  until no download is running, at most D (30s, 5m)", "mtor> show d",
	}
	rows = r.Until("all answers", func(now []string) bool { rows = now; return len(now) == len(want) })
	if got := strings.Join(rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the screen shows\n%s", got)
	}
}

func TestCommandsTypedWhileOneRunsWait(t *testing.T) {
	api := &fake{wait: make(chan struct{})}
	r := on(t, screentest.New(t, 80, 20), api, "")
	r.Type("wait", screentest.Enter)
	r.Shows("mtor> wait")
	r.Type("help quit", screentest.Enter)
	r.Ends("1 command runs when the command before is done")
	r.Type("show downloads", screentest.Enter)
	r.Ends("2 commands run when the command before is done")
	r.Type(screentest.CtrlD)
	rows := r.Ends("quits when the command before is done; Ctrl-C quits at once")
	if screentest.Row(rows, "help quit") >= 0 {
		t.Errorf("it was begun before its turn:\n%s", strings.Join(rows, "\n"))
	}
	close(api.wait)
	<-r.over
	if r.err != nil || !r.res.Quit || api.quit != 1 {
		t.Errorf("%+v, %v, %d quits", r.res, r.err, api.quit)
	}
	rows = r.Shows("no downloads")
	for i, want := range []string{"mtor> wait", "no download is running", "mtor> help quit", "quit"} {
		if i >= len(rows) || rows[i] != want {
			t.Fatalf("row %d is not %q:\n%s", i, want, strings.Join(rows, "\n"))
		}
	}
}

func TestHashingIsShownWhileItLasts(t *testing.T) {
	half, on2 := make(chan struct{}), make(chan struct{})
	api := &fake{share: func(progress func(done, total int64)) {
		progress(37, 100)
		close(half)
		<-on2
	}}
	r := on(t, screentest.New(t, 80, 10), api, "")
	r.Type("share big.iso x.mtorrent", screentest.Enter)
	<-half
	r.Shows("hashing big.iso 37%")
	close(on2)
	r.Shows("shared big.iso")
	r.Until("no more hashing", func(rows []string) bool { return screentest.Row(rows, "hashing") < 0 })
}

func TestRunningBarCostsFewBytes(t *testing.T) {
	api := &fake{list: []control.Download{loading("a.iso", 0), loading("b.iso", 0)}}
	r := on(t, screentest.New(t, 80, 24), api, "")
	r.Shows("b.iso")
	const changes = 6
	before := len(r.Raw())
	for i := range int64(changes) {
		a, b := loading("a.iso", (i+1)*17_000_000), loading("b.iso", (i+1)*31_000_000)
		a.DownRate, b.DownRate = float64(11_000_000+i*100_000), float64(22_000_000+i*300_000)
		api.set(a, b)
		r.Shows(menu.Rate(b.DownRate))
	}
	n := (len(r.Raw()) - before) / changes
	t.Logf("%d bytes for each change of two bars", n)
	if n == 0 || n > 300 {
		t.Error("too many for a slow line")
	}
	// What does not change is not drawn: of the next looks nothing is seen.
	api.await(api.looked() + 2)
	drawn := len(r.Raw())
	api.await(api.looked() + 2)
	if n := len(r.Raw()) - drawn; n > 0 {
		t.Errorf("%d bytes for bars that stand still", n)
	}
}

func TestHistoryIsKeptForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	x := screentest.New(t, 80, 24)
	r := on(t, x, &fake{}, path)
	r.Type("help quit", screentest.Enter, "wait x", screentest.Enter)
	r.Shows("want \"wait [--timeout D]\"")
	r.Type(screentest.CtrlD)
	<-r.over
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	r = on(t, screentest.New(t, 80, 24), &fake{}, path)
	r.Type("draft", screentest.Up, screentest.Up)
	r.Ends("mtor> help quit")
	r.Type(screentest.Down)
	r.Ends("mtor> wait x")
	r.Type(screentest.Down)
	r.Ends("mtor> draft")
}
