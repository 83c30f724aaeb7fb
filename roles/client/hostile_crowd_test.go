package client

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// carrier makes the transport of a node.
type carrier func(node *identity.Credentials) (transport.Transport, error)

func overTCP(*identity.Credentials) (transport.Transport, error) { return tcp.New(tcp.Options{}), nil }

func overQUIC(node *identity.Credentials) (transport.Transport, error) {
	return quic.New(quic.Options{Credentials: node})
}

// overEach runs a test over each of the real transports.
func overEach(t *testing.T, test func(t *testing.T, network carrier)) {
	t.Run("tcp", func(t *testing.T) { test(t, overTCP) })
	t.Run("quic", func(t *testing.T) { test(t, overQUIC) })
}

// crowd is a victim in the middle of a download and of an upload, and the honest
// friend at the other end of both.
type crowd struct {
	network        carrier
	victim, friend *Client
	dir            string
	log            *logbook     // the victim's
	sent           atomic.Int64 // by the friend
	wanted, given  *transfer    // the victim gets the one and seeds the other
	rounds         int
}

// transfer is one file on its way between the two.
type transfer struct {
	id     torrentfmt.ID
	t      *torrentfmt.Torrent
	data   []byte
	from   *Client
	to     *Client
	copied string
}

func newCrowd(t *testing.T, network carrier) *crowd {
	c := &crowd{network: network, dir: t.TempDir(), log: new(logbook)}
	c.victim = c.start(t, "victim", func(string, int64) {}, slog.New(slog.NewTextHandler(c.log, nil)))
	c.friend = c.start(t, "friend", func(_ string, n int64) { c.sent.Add(n) }, slog.New(slog.DiscardHandler))
	return c
}

func (c *crowd) start(t *testing.T, name string, sent func(string, int64), log *slog.Logger) *Client {
	t.Helper()
	node := identity.Ephemeral()
	network, err := c.network(node)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		ID: node.ID(), Addr: "127.0.0.1:0", StateDir: filepath.Join(c.dir, name), Log: log,
		// Where nobody listens, which TCP tells at once.
		Trackers: []string{"tcp://127.0.0.1:1", "tcp://127.0.0.1:2"},
		Listen:   transport.Table{network},
		Dial:     transport.Table{network},
	}
	if network.Scheme != tcp.Scheme {
		o.Dial = append(o.Dial, tcp.New(tcp.Options{}))
	}
	o.Observe.Torrents.Sent = sent
	x, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- x.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := x.Quit(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return x
}

// pieces of each file: more than are asked of one peer at first, and a bitfield
// with spare bits.
const pieces = 6

// trickle is so slow that no transfer is over before it is let go.
const trickle = 32 << 10

// begin starts both transfers, and returns when both are under way.
func (c *crowd) begin(t *testing.T) {
	t.Helper()
	c.rounds++
	c.limit(t, trickle)
	c.sent.Store(0)
	c.wanted, c.given = c.transfer(t, c.friend, c.victim), c.transfer(t, c.victim, c.friend)
	c.victim.peers.reach(c.friend.Addr(), peer.ID{}, c.wanted.id)
	eventually(t, "bytes from the friend", func() bool { return c.sent.Load() > 0 })
	c.friend.peers.reach(c.victim.Addr(), peer.ID{}, c.given.id)
	eventually(t, "link for the upload", func() bool { return c.victim.byTorrent(c.given.id).Status().Peers == 1 })
}

// limit bounds what the friend sends and fetches; 0 for nothing.
func (c *crowd) limit(t *testing.T, rate int64) {
	t.Helper()
	if _, err := c.friend.SetLimits(t.Context(), "", control.LimitChange{Up: &rate, Down: &rate}); err != nil {
		t.Fatal(err)
	}
}

func (c *crowd) transfer(t *testing.T, from, to *Client) *transfer {
	t.Helper()
	path := filepath.Join(c.dir, fmt.Sprintf("%d from %s", c.rounds, from.Addr()))
	size := (pieces-1)*torrentfmt.PieceSize + 2*c.rounds
	if from == c.victim {
		size++ // another content
	}
	x := &transfer{from: from, to: to, copied: path + ".copy", data: makeFile(t, path, size)}
	mtorrent := path + ".mtorrent"
	if _, err := from.Share(t.Context(), path, mtorrent, nil); err != nil {
		t.Fatal(err)
	}
	var err error
	if x.t, err = torrentfmt.Open(mtorrent); err != nil {
		t.Fatal(err)
	}
	x.id = x.t.ID()
	if _, err := to.Get(t.Context(), mtorrent, x.copied); err != nil {
		t.Fatal(err)
	}
	return x
}

// finish lets both transfers go and checks what has come.
func (c *crowd) finish(t *testing.T) {
	t.Helper()
	for what, x := range map[string]*transfer{"download": c.wanted, "upload": c.given} {
		if st := x.to.byTorrent(x.id).Status(); st.Whole || st.Err != nil {
			t.Errorf("the %s was not under way: %+v", what, st)
		}
	}
	c.limit(t, 0)
	for _, x := range []*transfer{c.wanted, c.given} {
		awaitDownloads(t, x.to)
		sameFile(t, x.copied, x.data)
	}
	for _, side := range []*Client{c.victim, c.friend} {
		list, err := side.Downloads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if _, err := side.Remove(t.Context(), d.Mtorrent); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// logbook is what was logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// line is the first line that holds all of these words.
func (l *logbook) line(words ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		return line
	}
	return ""
}

// memory is what this process has in use, in bytes: the villain with it.
func memory() int64 {
	var m runtime.MemStats
	runtime.GC() // twice: what a pool has let go stays for one round
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// descriptors is how many are open; 0 where they cannot be counted.
func descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}

// sessions is how many the victim has, and those that have not greeted yet.
func (c *crowd) sessions() int {
	c.victim.peers.mu.Lock()
	defer c.victim.peers.mu.Unlock()
	return c.victim.peers.accepted + c.victim.peers.dialled
}

func local(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}
