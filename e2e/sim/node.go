package sim

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/torrent"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// budget is how many piece buffers a client has: 64 MiB of 512 KiB.
const budget = 128

// node is one client of the swarm.
type node struct {
	w     *world
	index int
	line  *host
	addr  netip.AddrPort
	self  peer.Self
	file  *file
	tor   *torrent.Torrent
	tr    transport.Transport
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup

	began, ended time.Duration // since the start of the swarm; ended is 0 until whole
	whole        chan struct{}
	lonely       chan struct{}

	mu    sync.Mutex
	peers map[*node]*peer.Conn
}

// newNode makes a node that has the given pieces and starts nothing.
func (w *world) newNode(line *host, have *bitset.BitSet) *node {
	n := &node{
		w: w, index: len(w.all), line: line, file: newFile(w.content, have),
		whole: make(chan struct{}), lonely: make(chan struct{}, 1), peers: make(map[*node]*peer.Conn),
	}
	n.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n.index >> 16), byte(n.index >> 8), byte(n.index)}), 7000)
	n.self.ID[0], n.self.ID[1], n.self.ID[2] = byte(n.index>>16), byte(n.index>>8), byte(n.index)
	n.self.Addr = n.addr
	n.tr = w.network.Transport(n.addr.Addr())
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.tor = torrent.New(torrent.Options{
		Torrent: w.content, File: n.file, Buffers: newBuffers(budget, w.content.piece),
		Uploads: []*pace.Gate{pace.NewGate(0)},
		Whole:   func() { n.ended = w.now(); close(n.whole) },
		Stopped: func() {},
		Lonely: func() {
			select {
			case n.lonely <- struct{}{}:
			default:
			}
		},
		Log: slog.New(slog.DiscardHandler),
	})
	w.all = append(w.all, n)
	return n
}

// Local implements peer.Host.
func (n *node) Local(id torrentfmt.ID) (peer.Local, bool) { return n.tor, id == n.w.content.id }

// start listens, and runs the torrent until end.
func (n *node) start() error {
	n.began = n.w.now()
	l, err := n.tr.Listen(n.ctx, n.addr.String())
	if err != nil {
		return err
	}
	n.wg.Go(func() { n.tor.Run(n.ctx) })
	n.wg.Go(func() {
		defer l.Close()
		for {
			sess, err := l.Accept(n.ctx)
			if err != nil {
				return
			}
			n.wg.Go(func() { n.accept(sess) })
		}
	})
	n.w.enter(n)
	if !n.file.Whole() {
		n.wg.Go(n.look)
	}
	return nil
}

// end stops the node: in order, or as a killed process ends.
func (n *node) end(kill bool) {
	n.w.leave(n)
	if kill {
		n.mu.Lock()
		for _, conn := range n.peers {
			conn.Close(wire.Error_ERROR_NONE)
		}
		n.mu.Unlock()
	}
	n.stop()
	n.wg.Wait()
}

func (n *node) accept(sess transport.Session) {
	from := n.w.byAddr(sess.RemoteAddr().String())
	if from == nil {
		_ = sess.Close()
		return
	}
	conn, err := peer.Accept(n.ctx, session{sess, n.line, from.line}, n.self, n)
	if err != nil {
		_ = sess.Close()
		return
	}
	n.keep(from, conn)
}

// look dials peers that the tracker names, as long as the download lacks them:
// at once, then with the pauses of the real client.
func (n *node) look() {
	const first, last = time.Second, 30 * time.Second
	for pause := first; ; pause = min(2*pause, last) {
		n.mu.Lock()
		room := n.w.Degree - len(n.peers)
		n.mu.Unlock()
		for _, other := range n.w.name(n) {
			if room <= 0 {
				break
			}
			if n.reach(other) {
				room--
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-n.lonely:
			pause = first / 2
		case <-n.whole:
		case <-n.ctx.Done():
		}
		timer.Stop()
		if n.ctx.Err() != nil || n.file.Whole() {
			return
		}
	}
}

// reach dials another node unless the two are connected.
func (n *node) reach(other *node) bool {
	if !n.w.pair(n, other) {
		return false
	}
	n.wg.Go(func() {
		sess, err := n.tr.Dial(n.ctx, other.addr.String())
		if err != nil {
			n.w.unpair(n, other)
			return
		}
		conn, err := peer.Dial(n.ctx, session{sess, n.line, other.line}, n.self, n)
		if err != nil {
			_ = sess.Close()
			n.w.unpair(n, other)
			return
		}
		if err := conn.Join(n.w.content.id, n.tor); err != nil {
			conn.Close(wire.Error_ERROR_NONE)
		}
		n.keep(other, conn)
		n.w.unpair(n, other)
	})
	return true
}

// keep runs a session to its end. One that has lost its link has nothing more
// to carry.
func (n *node) keep(other *node, conn *peer.Conn) {
	n.mu.Lock()
	n.peers[other] = conn
	n.mu.Unlock()
	conn.Run(n.ctx)
	n.mu.Lock()
	delete(n.peers, other)
	n.mu.Unlock()
}
