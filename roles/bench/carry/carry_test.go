package carry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tables are one to listen on, and one to dial: TLS shares TCP's listener.
func tables(t *testing.T) (listen, dial transport.Table) {
	t.Helper()
	q, err := quic.New(quic.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := tcp.Options{Credentials: identity.Ephemeral()}
	plain := tcp.New(o)
	return transport.Table{plain, q}, transport.Table{plain, tcp.NewTLS(o), q}
}

func table(t *testing.T) transport.Table {
	_, dial := tables(t)
	return dial
}

// serving runs a server and returns its address, and how to end it.
func serving(t *testing.T, size int64, congestion ...string) (addr, dir string) {
	t.Helper()
	listen, _ := tables(t)
	kinds := []Kind{{Table: listen}}
	for i, name := range congestion {
		if i == 0 {
			kinds = nil
		}
		kinds = append(kinds, Kind{name, transport.Table{tcp.New(tcp.Options{Congestion: name}), listen[1]}[:2-min(i, 1)]})
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	s, err := NewServer(ctx, ServeOptions{Addr: "127.0.0.1:0", Dir: dir, Size: size, Kinds: kinds})
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
	r, err := Measure(t.Context(), Options{Addr: addr, Dir: dir, Rounds: 2, Streams: []int{1, 4}, Peers: []int{1}, Table: table(t)})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range r.Rows {
		names = append(names, row.Name())
		if row.Speed.Min <= 0 || row.Speed.Min > row.Speed.Median || row.Speed.Median > row.Speed.Max || row.First.Min <= 0 {
			t.Errorf("%+v", row)
		}
		if (row.Ratio == nil) != row.Bare || row.CPU.Max < row.Receiver.Min {
			t.Errorf("%+v", row)
		}
	}
	if want := "bare tcp,tcp,tcp,bare tls,tls,tls,bare quic,quic,quic"; strings.Join(names, ",") != want {
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
	if n := strings.Count(plot.String(), "<circle"); n != 2*6 {
		t.Errorf("%d points are drawn", n)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFetchEndsWhenItsTimeIsOverAndCountsWhatHasCome(t *testing.T) {
	addr, _ := serving(t, 64<<20)
	c, w, err := callServer(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := newFetcher(c, w, table(t), &sink{file: file, digests: w.Digests})
	// Less than a handshake takes, so that nothing may have come, but never all.
	o := Options{Rounds: 1, Streams: []int{16}, Peers: []int{2}, For: time.Millisecond}
	for _, way := range f.ways(o) {
		r, err := f.measure(t.Context(), c, o, way)
		if err != nil || r.got >= w.Size {
			t.Errorf("%s: %d bytes of %d, %v", way.name(), r.got, w.Size, err)
		}
	}
}

func TestSeveralPeersShareTheFile(t *testing.T) {
	addr, _ := serving(t, 16*torrentfmt.PieceSize)
	relay := time.Duration(0)
	r, err := Measure(t.Context(), Options{
		Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{2}, Peers: []int{1, 4}, Table: table(t),
		Relay: func() time.Duration { relay += time.Second; return relay },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		if row.Speed.Min <= 0 || row.Relay == nil || row.Relay.Min <= 0 {
			t.Errorf("%+v", row)
		}
		if (row.Ratio == nil) != (row.Bare || row.Peers > 1) {
			t.Errorf("%s with %d peers: ratio %v", row.Name(), row.Peers, row.Ratio)
		}
	}
	if len(r.Rows) != 3*3 {
		t.Errorf("%d rows", len(r.Rows))
	}
}

func TestEachCongestionControlIsMeasuredAndQUICOnce(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		if err := tcp.CheckCongestion(name); err != nil {
			t.Skip(err)
		}
	}
	addr, _ := serving(t, torrentfmt.PieceSize, "reno", "cubic")
	plain, quic := table(t)[0], table(t)[2]
	r, err := Measure(t.Context(), Options{
		Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{1}, Peers: []int{1}, Table: transport.Table{plain, quic},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range r.Rows {
		names = append(names, row.Name())
	}
	if got, want := strings.Join(names, ","), "bare tcp reno,tcp reno,bare tcp cubic,tcp cubic,bare quic,quic"; got != want {
		t.Errorf("measured %s", got)
	}
}

// receiverLimit is what a receiver may take beside its base. 64 pieces are half
// of it; here the garbage of the sender is added.
const receiverLimit = 64 << 20

func TestReceiverHoldsLittleMoreThanItsWindow(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as where mtor moves pieces
	addr, _ := serving(t, 66*torrentfmt.PieceSize)
	for _, row := range table(t) {
		r, err := Measure(t.Context(), Options{
			Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{MaxStreams}, Peers: []int{1}, Table: transport.Table{row},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			t.Logf("%s, %d in flight: %.1f MiB", row.Name(), row.Streams, row.Memory.Max/(1<<20))
			if row.Memory.Max > receiverLimit {
				t.Errorf("%s, %d in flight: more than %d MiB", row.Name(), row.Streams, receiverLimit>>20)
			}
		}
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
		_, err = Measure(t.Context(), Options{Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{2}, Peers: []int{1}, Table: transport.Table{row}})
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
	if _, err := Measure(t.Context(), Options{Addr: addr, Dir: t.TempDir(), Rounds: 1, Streams: []int{1}, Peers: []int{1}, Table: table(t)}); err != nil {
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
	_, err = Measure(t.Context(), Options{Addr: l.Addr().String(), Dir: t.TempDir(), Rounds: 1, Streams: []int{1}, Peers: []int{1}})
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
	good := Options{Rounds: 1, Streams: []int{1, 16}, Peers: []int{1, 4}, For: time.Second}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Options){
		"no round":        func(o *Options) { o.Rounds = 0 },
		"many rounds":     func(o *Options) { o.Rounds = maxRounds + 1 },
		"no streams":      func(o *Options) { o.Streams = nil },
		"0 streams":       func(o *Options) { o.Streams = []int{0} },
		"65 streams":      func(o *Options) { o.Streams, o.Peers = []int{65}, []int{1} },
		"twice 2 streams": func(o *Options) { o.Streams = []int{2, 2} },
		"no peers":        func(o *Options) { o.Peers = nil },
		"0 peers":         func(o *Options) { o.Peers = []int{0} },
		"65 in all":       func(o *Options) { o.Streams, o.Peers = []int{13}, []int{5} },
		"back in time":    func(o *Options) { o.For = -1 },
		"no end":          func(o *Options) { o.For = time.Hour },
	} {
		o := good
		if change(&o); o.Check() == nil {
			t.Errorf("%s: %+v was accepted", what, o)
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
