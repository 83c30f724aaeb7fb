package carry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func table(t *testing.T) transport.Table {
	t.Helper()
	q, err := quic.New(quic.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return transport.Table{tcp.New(tcp.Options{}), q}
}

// serving runs a server and returns its address, and how to end it.
func serving(t *testing.T, size int64) (addr, dir string) {
	t.Helper()
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	s, err := NewServer(ctx, ServeOptions{Addr: "127.0.0.1:0", Dir: dir, Size: size, Table: table(t)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("the server left %v, %v", left, err)
		}
	})
	return s.Addr(), dir
}

func TestEveryWayIsMeasuredAndHeldAgainstTheBareOneOfItsRound(t *testing.T) {
	addr, _ := serving(t, 16*torrentfmt.PieceSize)
	dir := t.TempDir()
	r, err := Measure(t.Context(), Options{Addr: addr, Dir: dir, Rounds: 2, Streams: []int{1, 4}, Table: table(t)})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range r.Rows {
		names = append(names, row.name())
		if row.Speed.Min <= 0 || row.Speed.Min > row.Speed.Median || row.Speed.Median > row.Speed.Max || row.First.Min <= 0 {
			t.Errorf("%+v", row)
		}
		if (row.Ratio == nil) != row.Bare || row.CPU.Max < row.Receiver.Min {
			t.Errorf("%+v", row)
		}
	}
	if want := "bare tcp,tcp,tcp,bare quic,quic,quic"; strings.Join(names, ",") != want {
		t.Errorf("measured %v", names)
	}
	var table, doc, plot bytes.Buffer
	if err := errors.Join(r.Print(&table), r.JSON(&doc), r.Plot(&plot)); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || len(back.Rows) != len(r.Rows) || back.Size != r.Size {
		t.Errorf("%v, %+v", err, back)
	}
	if n := strings.Count(table.String(), "\n"); n != 5+len(r.Rows) {
		t.Errorf("%d lines:\n%s", n, &table)
	}
	if n := strings.Count(plot.String(), "<circle"); n != 2*4 {
		t.Errorf("%d points are drawn", n)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPieceThatIsWrongFailsTheRun(t *testing.T) {
	addr, dir := serving(t, 4*torrentfmt.PieceSize)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f, err := os.OpenFile(dir+"/"+files[0].Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("not what it was"), 2*torrentfmt.PieceSize); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all := table(t)
	for _, row := range all {
		_, err = Measure(t.Context(), Options{Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{2}, Table: transport.Table{row}})
		if !errors.Is(err, errDigest) {
			t.Errorf("over %s: %v", row.Scheme, err)
		}
	}
}

func TestStrangerIsTurnedAwayAndOthersAreServed(t *testing.T) {
	addr, _ := serving(t, torrentfmt.PieceSize)
	for _, said := range []string{"GET / HTTP/1.1\r\n\r\n", strings.Repeat("x", 10*maxLine), greeting + forControl + "\nhello\n"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		_, _ = got.ReadFrom(c) // ends, in order or not, when the server hangs up
		if strings.Count(got.String(), "\n") > 1 {
			t.Errorf("%.20q was answered %q", said, &got)
		}
		c.Close()
	}
	if _, err := Measure(t.Context(), Options{Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{1}, Table: table(t)}); err != nil {
		t.Error(err)
	}
}

func TestServerThatIsNoneIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte(`{"size": 524288, "digests": ""}` + "\n"))
			c.Close()
		}
	}()
	_, err = Measure(t.Context(), Options{Addr: l.Addr().String(), Dir: t.TempDir(), Rounds: 1, Streams: []int{1}})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestBareFetchLeavesAFreshFileUnderItsFinalNameAlone(t *testing.T) {
	addr, served := serving(t, 4*torrentfmt.PieceSize)
	b, err := NewBare(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	took, _, err := b.Fetch(t.Context(), dir+"/copy")
	if err != nil || took <= 0 {
		t.Fatal(took, err)
	}
	files, err := os.ReadDir(served)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	want, err := os.ReadFile(served + "/" + files[0].Name())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dir + "/copy")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestOptionsOutOfBoundsAreRefused(t *testing.T) {
	for _, o := range []Options{{}, {Rounds: 1}, {Rounds: 1, Streams: []int{0}}, {Rounds: 1, Streams: []int{65}}, {Rounds: 1, Streams: []int{2, 2}}, {Rounds: 1001, Streams: []int{1}}} {
		if o.Check() == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	for _, size := range []int64{-torrentfmt.PieceSize, 0, 1, torrentfmt.PieceSize + 1, MaxSize + torrentfmt.PieceSize} {
		if CheckSize(size) == nil {
			t.Errorf("%d bytes were accepted", size)
		}
	}
}

func TestMedianIsTheMiddleOfAll(t *testing.T) {
	if s := SpreadOf([]float64{9, 1, 5}); s != (Spread{5, 1, 9}) {
		t.Error(s)
	}
	if s := SpreadOf([]float64{4, 1, 2, 9}); s != (Spread{3, 1, 9}) {
		t.Error(s)
	}
}
