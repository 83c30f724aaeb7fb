package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain also plays the child: a copy of this test binary with MENU_CHILD
// set answers a few commands the way mtor's menu does.
func TestMain(m *testing.M) {
	if os.Getenv("MENU_CHILD") != "" {
		os.Exit(menuChild())
	}
	goleak.VerifyTestMain(m)
}

func menuChild() int {
	fmt.Fprintln(os.Stderr, "a warning that comes first")
	fmt.Fprintln(os.Stderr, "client ready on 127.0.0.1:7001")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch verb, rest, _ := strings.Cut(in.Text(), " "); verb {
		case "echo":
			fmt.Fprintln(os.Stderr, "a note in between")
			fmt.Println(rest)
		case "two":
			fmt.Println("one\ntwo")
		case "refuse":
			fmt.Fprintln(os.Stderr, "error: "+rest)
		case "flood":
			for i := range 2 * maxLines {
				fmt.Println(i)
			}
		case "die":
			fmt.Fprintln(os.Stderr, "error: the reason")
			return 3
		case "hang":
			select {}
		}
	}
	return 0
}

func start(t *testing.T) (*Process, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Name: "child", Exe: exe, Dir: t.TempDir(), Env: []string{"MENU_CHILD=1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	addr, err := p.Ready(ctx)
	if err != nil || addr != "127.0.0.1:7001" {
		t.Fatalf("Ready = %q, %v", addr, err)
	}
	return p, ctx
}

func TestAnswersBelongToTheirCommands(t *testing.T) {
	p, ctx := start(t)
	for i := range 100 {
		want := fmt.Sprint("answer ", i)
		if got, err := p.Ask(ctx, "echo "+want); err != nil || got != want {
			t.Fatalf("answer = %q, %v; want %q", got, err, want)
		}
	}
	if got, err := p.AskLines(ctx, "two", 2); err != nil || strings.Join(got, " ") != "one two" {
		t.Fatalf("two lines = %q, %v", got, err)
	}
}

func TestErrorLineIsARefusal(t *testing.T) {
	p, ctx := start(t)
	_, err := p.Ask(ctx, "refuse get x : no such file")
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Said != "get x : no such file" {
		t.Fatalf("err = %v", err)
	}
	if got, err := p.Ask(ctx, "echo on"); err != nil || got != "on" {
		t.Fatalf("after a refusal: %q, %v", got, err)
	}
}

func TestDeathOfTheChildEndsAWaitWithItsLastWords(t *testing.T) {
	p, ctx := start(t)
	if err := p.Type("die"); err != nil {
		t.Fatal(err)
	}
	_, err := p.Line(ctx, 0, func(Line) bool { return false })
	var exit *ExitError
	if !errors.As(err, &exit) || exit.State != "exit status 3" || !strings.Contains(exit.Said, "the reason") {
		t.Fatalf("err = %v", err)
	}
	if err := p.Wait(ctx); !errors.As(err, &exit) {
		t.Fatalf("Wait = %v", err)
	}
	if p.ExitCode() != 3 {
		t.Fatalf("exit code %d", p.ExitCode())
	}
}

func TestClosedInputEndsTheChildWithCodeZero(t *testing.T) {
	p, ctx := start(t)
	p.CloseInput()
	if err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatalf("signal to an ended child: %v", err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	p, ctx := start(t)
	if err := p.Type("hang"); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithCancelCause(ctx)
	why := errors.New("enough")
	cancel(why)
	if _, err := p.Ask(soon, "echo x"); !errors.Is(err, why) {
		t.Fatalf("Ask = %v", err)
	}
	if err := p.Wait(soon); !errors.Is(err, why) {
		t.Fatalf("Wait = %v", err)
	}
	p.Kill()
	if p.ExitCode() == 0 {
		t.Fatal("a killed child reports code 0")
	}
}

func TestTranscriptOfATalkativeChildIsBounded(t *testing.T) {
	p, ctx := start(t)
	if err := p.Type("flood"); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Ask(ctx, "echo done"); err != nil || got == "" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := p.Line(ctx, 0, func(l Line) bool { return l.Text == "done" }); err != nil {
		t.Fatal(err)
	}
	if n := len(p.Output(Stdout)); n > maxLines {
		t.Fatalf("%d lines kept", n)
	}
}

func TestReservedPortsAreDistinctAndFree(t *testing.T) {
	addrs, err := Reserve(t.Context(), "127.0.0.1", 3)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(addrs)
	if len(slices.Compact(slices.Clone(addrs))) != 3 {
		t.Fatalf("%q", addrs)
	}
	for _, a := range addrs {
		tcp, err := net.Listen("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		tcp.Close()
		udp, err := net.ListenPacket("udp", a)
		if err != nil {
			t.Fatal(err)
		}
		udp.Close()
	}
}
