package menu

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/client/control"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run pipes input into a menu on m.
func run(t *testing.T, m control.API, input string) (res Result, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	res, err := Run(t.Context(), Options{In: strings.NewReader(input), Out: &o, Err: &e, API: m})
	if err != nil {
		t.Fatal(err)
	}
	return res, o.String(), e.String()
}

// TestPipedSession holds whole sessions against testdata/*.txtar: "torrents"
// and "files" are what there is in the world, "in" is piped, "out" and "err"
// are what must come, "result" is what Run returns.
func TestPipedSession(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { golden(t, name) })
		})
	}
}

func golden(t *testing.T, name string) {
	t.Setenv("HOME", "/home/ann")
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	section := map[string]string{}
	for _, f := range archive.Files {
		section[f.Name] = string(f.Data)
	}
	m := newMemory()
	for row := range strings.Lines(section["files"]) {
		var size int64
		path, s, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "|")
		if _, err := fmt.Sscan(s, &size); err != nil {
			t.Fatal(err)
		}
		m.files[path] = size
	}
	for row := range strings.Lines(section["torrents"]) {
		f := strings.Split(strings.TrimSuffix(row, "\n"), "|")
		r := remote{name: f[1], fate: f[3]}
		if _, err := fmt.Sscan(f[2], &r.size); err != nil {
			t.Fatal(err)
		}
		m.remote[f[0]] = r
	}
	res, out, errs := run(t, m, section["in"])
	got := map[string]string{"out": out, "err": errs, "result": fmt.Sprintf("%+v\n", res)}
	for i, f := range archive.Files {
		want, checked := got[f.Name]
		if !checked {
			continue
		}
		if diff := cmp.Diff(string(f.Data), want); diff != "" && !*update {
			t.Errorf("%s (-want +got):\n%s", f.Name, diff)
		}
		archive.Files[i].Data = []byte(want)
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndOfInputWithoutACommandLeavesTheClientServing(t *testing.T) {
	for _, input := range []string{"", "\n\n", "# only a comment\n", "  \t \r\n"} {
		m := newMemory()
		res, out, errs := run(t, m, input)
		if res != (Result{}) || m.quits != 0 || out+errs != "" {
			t.Errorf("%q: %+v, %d quits, said %q", input, res, m.quits, out+errs)
		}
	}
}

func TestEndOfInputAfterACommandWaitsThenQuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.remote["x.mtorrent"] = remote{"x.iso", 1000, "stuck"}
		type outcome struct {
			res Result
			out string
		}
		over := make(chan outcome, 1)
		go func() {
			res, out, _ := run(t, m, "get x.mtorrent .")
			over <- outcome{res, out}
		}()
		synctest.Wait()
		select {
		case <-over:
			t.Fatal("did not wait for the download")
		default:
		}
		m.change("x.iso", func(d *control.Download) { d.State, d.Done = control.Seeding, d.Size })
		got := <-over
		if got.res != (Result{Commands: 1, Quit: true}) || m.quits != 1 {
			t.Errorf("got %+v and %d quits", got.res, m.quits)
		}
		if want := "getting x.iso: 1000 B to x.iso\n1 download complete\n"; got.out != want {
			t.Errorf("said %q, want %q", got.out, want)
		}
	})
}

func TestWaitEndsAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.remote["x.mtorrent"] = remote{"x.iso", 1000, "stuck"}
		begun := time.Now()
		res, _, errs := run(t, m, "get x.mtorrent .\nwait --timeout 1m\nquit\n")
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("waited %v", took)
		}
		if res.Failed != 1 || errs != "error: x.iso : unfinished, 0% done after 1m0s\n" {
			t.Errorf("%+v, said %q", res, errs)
		}
	})
}

func TestSignalEndsTheMenuWhileInputIsSilent(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("a signal")
	over := make(chan error, 1)
	m := newMemory()
	go func() {
		_, err := Run(ctx, Options{In: r, Out: io.Discard, Err: io.Discard, API: m})
		over <- err
	}()
	cancel(reason)
	if err := <-over; !errors.Is(err, reason) {
		t.Errorf("got %v, want the cause", err)
	}
	if m.quits != 0 {
		t.Error("the menu quit the client; that is its caller's part")
	}
}

func TestSignalEndsACommandWithoutAnErrorLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.remote["x.mtorrent"] = remote{"x.iso", 1000, "stuck"}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		var errs bytes.Buffer
		res, err := Run(ctx, Options{In: strings.NewReader("get x.mtorrent .\nwait\n"), Out: io.Discard, Err: &errs, API: m})
		if !errors.Is(err, context.Canceled) || res.Failed != 0 || errs.Len() > 0 {
			t.Errorf("err %v, %+v, said %q", err, res, errs.String())
		}
	})
}

func TestLongLineIsRefusedAndTheNextOneRuns(t *testing.T) {
	fits := "help" + strings.Repeat(" ", MaxLine-len("help"))
	for _, end := range []string{"\n", "\r\n"} {
		res, out, errs := run(t, newMemory(), fits+end+fits+"x"+end+strings.Repeat("y", 3*MaxLine)+end+"show downloads"+end)
		if res.Commands != 4 || res.Failed != 2 {
			t.Errorf("%+v", res)
		}
		if want := strings.Repeat("error: line : longer than 32768 bytes\n", 2); errs != want {
			t.Errorf("errors %q, want %q", errs, want)
		}
		if !strings.HasPrefix(out, "share ") || !strings.HasSuffix(out, "\nno downloads\n") {
			t.Errorf("said %q", out)
		}
	}
}

func TestBrokenInputIsAFailure(t *testing.T) {
	in := io.MultiReader(strings.NewReader("help\n"), iotest.ErrReader(errors.New("read stdin: input/output error")))
	var errs bytes.Buffer
	m := newMemory()
	res, err := Run(t.Context(), Options{In: in, Out: io.Discard, Err: &errs, API: m})
	if err != nil || res != (Result{Commands: 1, Failed: 1, Quit: true}) || m.quits != 1 {
		t.Errorf("%+v, err %v, %d quits", res, err, m.quits)
	}
	if want := "error: read stdin : input/output error\n"; errs.String() != want {
		t.Errorf("said %q, want %q", errs.String(), want)
	}
}

func TestFailingQuitIsReportedAndStillQuits(t *testing.T) {
	m := newMemory()
	m.quits = 1
	res, _, errs := run(t, m, "quit\nhelp\n")
	if !res.Quit || res.Failed != 1 || res.Commands != 1 || errs != "error: quit : was called twice\n" {
		t.Errorf("%+v, said %q", res, errs)
	}
}

func TestTerminalShowsAPromptAndQuitsAtCtrlD(t *testing.T) {
	for _, input := range []string{"", "show downloads\n"} {
		var out, errs bytes.Buffer
		m := newMemory()
		res, err := Run(t.Context(), Options{In: strings.NewReader(input), Out: &out, Err: &errs, Terminal: true, API: m})
		if err != nil || !res.Quit || m.quits != 1 {
			t.Errorf("%q: %+v, err %v, %d quits", input, res, err, m.quits)
		}
		want := Prompt + "\n"
		if input != "" {
			want = Prompt + "no downloads\n" + want
		}
		if out.String() != want {
			t.Errorf("%q: said %q, want %q", input, out.String(), want)
		}
	}
}

func TestHashingShowsProgressOnATerminalAfterASecond(t *testing.T) {
	for name, c := range map[string]struct {
		terminal bool
		step     time.Duration
		want     string
	}{
		"slow":  {true, 400 * time.Millisecond, "\rhashing a.iso 75% of 977 KiB, 610 KiB/s\rhashing a.iso 100% of 977 KiB, 610 KiB/s\r" + strings.Repeat(" ", 40) + "\r"},
		"quick": {true, 100 * time.Millisecond, ""},
		"piped": {false, time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.files["a.iso"] = 1_000_000
				m.hashing = func(report func(int64)) {
					for n := int64(250_000); n <= 1_000_000; n += 250_000 {
						time.Sleep(c.step) //nolint:forbidigo // virtual time
						report(n)
					}
				}
				var errs bytes.Buffer
				res, err := Run(t.Context(), Options{In: strings.NewReader("share a.iso a.mtorrent\n"), Out: io.Discard, Err: &errs, Terminal: c.terminal, API: m})
				if err != nil || res.Failed != 0 {
					t.Fatal(res, err)
				}
				if errs.String() != c.want {
					t.Errorf("drew %q, want %q", errs.String(), c.want)
				}
			})
		})
	}
}

// ending is a client whose Quit ends the context of the menu on it, as a
// process does that serves a menu only while its client runs.
type ending struct {
	*memory
	end context.CancelFunc
}

func (e ending) Quit(ctx context.Context) error {
	err := e.memory.Quit(ctx)
	e.end()
	return err
}

func TestQuitThatEndsTheContextIsNoInterruption(t *testing.T) {
	for _, input := range []string{"quit\n", "help\n"} {
		ctx, cancel := context.WithCancel(t.Context())
		m := ending{newMemory(), cancel}
		res, err := Run(ctx, Options{In: strings.NewReader(input), Out: io.Discard, Err: io.Discard, API: m})
		if err != nil || res != (Result{Commands: 1, Quit: true}) || m.quits != 1 {
			t.Errorf("%q: %+v, err %v, %d quits", input, res, err, m.quits)
		}
	}
}
