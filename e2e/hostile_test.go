package e2e

import (
	"bytes"
	bigendian "encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/quic"
)

// What docs/protocol.md says of the TCP multiplexer, and docs/tracker.md of
// the sessions of one source, written down anew.
const (
	muxPreface     = "\xffmtmux\x00\x01"
	muxHeader      = 16
	dataFrame      = 1
	closeFrame     = 5
	opens, endsWay = 1, 2
	ofOneSource    = 4096
)

// dataOf is a data frame of one of the dialler's streams.
func dataOf(flags byte, stream uint64, payload []byte) []byte {
	b := []byte{dataFrame, flags, 0, 0}
	b = bigendian.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = bigendian.BigEndian.AppendUint64(b, stream)
	return append(b, payload...)
}

// framed are messages as they go over a stream.
func framed(t *testing.T, messages ...proto.Message) []byte {
	t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = wire.Append(b, m); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func helloOf(node byte) *wire.Hello {
	return &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: bytes.Repeat([]byte{node}, wire.NodeIDSize), Agent: "e2e"}
}

var openRequests = &wire.Open{Kind: &wire.Open_Requests{Requests: &wire.Requests{}}}

// knock opens a connection from a given IP, says b and no more.
func (s *swarm) knock(from, to string, b []byte) *net.TCPConn {
	s.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(s.ctx, "tcp", to)
	if err == nil {
		_, err = c.Write(b)
	}
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// endOf reads a raw connection until the tracker ends it, and returns the code
// of its close frame, or false if there was none.
func endOf(c net.Conn) (code wire.Error, coded bool, err error) {
	if _, err := io.CopyN(io.Discard, c, int64(len(muxPreface))); err != nil {
		return 0, false, err
	}
	for {
		head := make([]byte, muxHeader)
		if _, err := io.ReadFull(c, head); err != nil {
			return 0, false, err
		}
		n := bigendian.BigEndian.Uint32(head[4:])
		switch head[0] {
		case dataFrame:
			if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
				return 0, false, err
			}
		case closeFrame:
			return wire.Error(n), true, nil
		}
	}
}

// served has two clients share, get and remove through a tracker.
func (s *swarm) served(sharer, getter *client, name string) {
	s.Helper()
	s.write(name, 3*pieceSize, name[0])
	sharer.do("share " + name + " " + name + ".mtorrent")
	getter.do("get " + name + ".mtorrent " + name + ".copy")
	getter.do("wait")
	s.same(name, name+".copy")
	s.lists(s.trackers[:1], s.id(name+".mtorrent"), whole(sharer, getter))
	getter.do("remove " + name + ".mtorrent")
}

// dribbler is one who says something at once and the rest slowly.
type dribbler struct {
	where string
	first []byte
	rest  [][]byte
	coded bool // gets to know why it is ended
}

func dribblers(hello, asking []byte) []dribbler {
	var preface, payload, frames [][]byte
	for i := range len(muxPreface) {
		preface = append(preface, []byte(muxPreface)[i:i+1])
	}
	message := append([]byte{20}, make([]byte, 20)...)
	for i := range message {
		payload = append(payload, message[i:i+1])
		frames = append(frames, dataOf(0, 3, message[i:i+1]))
	}
	header := dataOf(opens|endsWay, 1, message)[:muxHeader]
	return []dribbler{
		{"in the preface", nil, preface, false},
		{"in the hello", slices.Concat([]byte(muxPreface), header), payload, true},
		{"in a request", slices.Concat(hello, asking), frames, true},
	}
}

// dribble says a byte every ten seconds until the tracker ends the connection,
// which it must before all is said.
func (s *swarm) dribble(c net.Conn, rest [][]byte) (code wire.Error, coded bool) {
	ended := make(chan struct{})
	go func() { defer close(ended); code, coded, _ = endOf(c) }()
	for _, b := range rest {
		if _, err := c.Write(b); err != nil {
			break // the end is on its way
		}
		select {
		case <-time.After(10 * time.Second):
			continue
		case <-ended:
		case <-s.ctx.Done():
			s.Error("one who says a byte every ten seconds is still there")
			c.Close()
		}
		break
	}
	<-ended
	return code, coded
}

func TestTenThousandIdleSessionsAndDribblersDoNotKeepOthersFromBeingServed(t *testing.T) {
	t.Parallel()
	heavy(t)
	const idle, beyond = 10_000, 10
	if n, ok := openFiles(); !ok || n < idle+2000 {
		t.Skipf("this process may open %d files: too few for %d connections", n, idle)
	}
	s := newPair(t, "--admin", "127.0.0.1:0", "--lease", "10m")
	if s.network == "" {
		t.Skip("this machine has one loopback address, and a tracker takes fewer sessions of one")
	}
	tr := s.trackers[0]
	tr.start()
	sharer, getter := s.client(10, "sharer"), s.client(20, "getter")
	s.served(sharer, getter, "before")
	used, measured := residentMemory(tr.PID())
	hello := append([]byte(muxPreface), dataOf(opens|endsWay, 1, framed(t, helloOf(1)))...)

	var slow sync.WaitGroup
	for _, d := range dribblers(hello, dataOf(opens, 3, framed(t, openRequests))) {
		c := s.knock(s.ip(30), tr.addr, d.first)
		slow.Go(func() {
			code, coded := s.dribble(c, d.rest)
			if d.coded && (!coded || code != wire.Error_ERROR_TIMEOUT) {
				t.Errorf("a byte every ten seconds %s: ended with %v (%v)", d.where, code, coded)
			}
		})
	}

	for i := range idle + beyond {
		source := 101 // of which 10 too many come
		if i >= ofOneSource+beyond {
			source = 102 + (i-ofOneSource-beyond)/ofOneSource
		}
		c := s.knock(s.ip(source), tr.addr, hello)
		// A listener lets the oldest go when too many come at once.
		if _, err := io.ReadFull(c, make([]byte, len(muxPreface))); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	got := tr.status(func(g status) bool { return g.Sessions >= idle })
	s.served(sharer, getter, "crowded")
	if got.Sessions > idle+10 { // with the clients and the dribblers
		t.Errorf("%d sessions: those beyond %d of one source were to be turned away", got.Sessions, ofOneSource)
	}
	extra := s.knock(s.ip(101), tr.addr, hello)
	if code, coded, err := endOf(extra); !coded || code != wire.Error_ERROR_TOO_MANY {
		t.Errorf("one more is ended with %v (%v, %v)", code, coded, err)
	}
	if after, ok := residentMemory(tr.PID()); ok && measured {
		t.Logf("%d sessions: %d MiB resident, %d before: %d KiB a session", got.Sessions, after>>20, used>>20, (after-used)>>10/idle)
		const mostPerSession = 64 << 10
		if after-used > idle*mostPerSession && !raced {
			t.Errorf("%d bytes a session: want at most %d", (after-used)/idle, mostPerSession)
		}
	}
	slow.Wait()
	s.served(sharer, getter, "after")
}

func TestThousandIdleSessionsOverQUICDoNotKeepOthersFromBeingServed(t *testing.T) {
	t.Parallel()
	heavy(t)
	idle := 1000
	if raced { // each costs ten times as much
		idle = 100
	}
	if n, ok := openFiles(); !ok || n < uint64(idle)+500 {
		t.Skipf("this process may open %d files: too few for %d sockets", n, idle)
	}
	s := newPair(t, "--admin", "127.0.0.1:0")
	tr := s.trackers[0]
	tr.start()
	sharer, getter := s.client(10, "sharer"), s.client(20, "getter")
	used, measured := residentMemory(tr.PID())
	q, err := quic.New(quic.Options{LocalIP: netip.MustParseAddr(s.ip(101))})
	if err != nil {
		t.Fatal(err)
	}
	for range idle {
		sess, err := transport.Table{q}.Dial(s.ctx, "quic://"+tr.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sess.Close() })
		hi, err := sess.Open(s.ctx)
		if err == nil {
			err = transport.WriteLast(hi, framed(t, helloOf(1)))
		}
		if err == nil {
			_, err = wire.ReadHello(hi)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := tr.status(func(g status) bool { return g.Sessions >= idle })
	s.served(sharer, getter, "crowded")
	if after, ok := residentMemory(tr.PID()); ok && measured {
		t.Logf("%d sessions: %d MiB resident, %d before: %d KiB a session", got.Sessions, after>>20, used>>20, (int(after)-int(used))>>10/idle)
		const mostPerSession = 512 << 10
		if int(after)-int(used) > idle*mostPerSession && !raced {
			t.Errorf("%d bytes a session: want at most %d", (after-used)/uint64(idle), mostPerSession)
		}
	}
}
