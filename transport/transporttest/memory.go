package transporttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// MemoryScheme is the scheme of the in-memory transport.
const MemoryScheme = "memory"

const (
	// memoryBacklog is how many dialled sessions may wait for Accept before
	// the next Dial waits.
	memoryBacklog = 128
	// firstEphemeral is where free ports begin, as RFC 6335 has it.
	firstEphemeral = 49152
)

// Network is a set of in-memory listeners that can be reached from one
// another. It has no goroutine and no socket, so hundreds of nodes fit on one
// and it may be used within a testing/synctest bubble: whoever waits, waits on
// a channel of that bubble.
type Network struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*memoryListener
	port      uint16 // the last free port given out
}

// NewNetwork returns a network without listeners.
func NewNetwork() *Network {
	return &Network{listeners: make(map[netip.AddrPort]*memoryListener), port: firstEphemeral - 1}
}

// Memory is a transport over a network of its own, dialling from 127.0.0.1.
func Memory() transport.Transport {
	return NewNetwork().Transport(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// Transport is the view of a node whose sessions come from local, and prove
// nothing.
func (n *Network) Transport(local netip.Addr) transport.Transport {
	return n.TransportOf(local, identity.ID{})
}

// TransportOf is the view of a node that is taken for the one of that ID.
func (n *Network) TransportOf(local netip.Addr, id identity.ID) transport.Transport {
	return transport.Transport{
		Scheme: MemoryScheme,
		Proves: !id.IsZero(),
		Dial: func(ctx context.Context, addr string) (transport.Session, error) {
			s, err := n.dial(ctx, local, addr, id)
			if err != nil {
				return nil, &transport.DialError{Scheme: MemoryScheme, Addr: addr, Err: err}
			}
			return s, nil
		},
		Listen: func(ctx context.Context, addr string) (transport.Listener, error) {
			l, err := n.listen(ctx, addr, id)
			if err != nil {
				return nil, fmt.Errorf("listen on %s://%s: %w", MemoryScheme, addr, err)
			}
			return l, nil
		},
	}
}

func (n *Network) dial(ctx context.Context, local netip.Addr, addr string, id identity.ID) (*memorySession, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	l := n.listeners[to]
	if l == nil { // a listener on every address of its family
		wild := netip.IPv4Unspecified()
		if to.Addr().Is6() {
			wild = netip.IPv6Unspecified()
		}
		l = n.listeners[netip.AddrPortFrom(wild, to.Port())]
	}
	from := netip.AddrPortFrom(local, n.freePort(local))
	n.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	near, far := newMemoryPair(net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	near.node, far.node = id, l.node
	select {
	case l.ready <- far:
		// Close may have emptied the backlog just before.
		select {
		case <-l.closed:
			l.drain()
		default:
		}
		return near, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *Network) listen(ctx context.Context, addr string, id identity.ID) (*memoryListener, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.Port() == 0 {
		at = netip.AddrPortFrom(at.Addr(), n.freePort(at.Addr()))
	}
	if n.listeners[at] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := &memoryListener{
		network: n,
		at:      at,
		node:    id,
		ready:   make(chan *memorySession, memoryBacklog),
		closed:  make(chan struct{}),
	}
	n.listeners[at] = l
	return l, nil
}

// freePort is called with n.mu held.
func (n *Network) freePort(ip netip.Addr) uint16 {
	for {
		n.port++
		if n.port < firstEphemeral {
			n.port = firstEphemeral
		}
		if n.listeners[netip.AddrPortFrom(ip, n.port)] == nil {
			return n.port
		}
	}
}

type memoryListener struct {
	network *Network
	at      netip.AddrPort
	node    identity.ID
	ready   chan *memorySession
	closed  chan struct{}
	once    sync.Once
}

func (l *memoryListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

func (l *memoryListener) Accept(ctx context.Context) (transport.Session, error) {
	select {
	case <-l.closed:
		return nil, errListenerClosed
	default:
	}
	select {
	case s := <-l.ready:
		return s, nil
	case <-l.closed:
		return nil, errListenerClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.at)
		l.network.mu.Unlock()
		close(l.closed)
		l.drain()
	})
	return nil
}

// drain ends the sessions that nobody will accept any more.
func (l *memoryListener) drain() {
	for {
		select {
		case s := <-l.ready:
			_ = s.Close() // never fails
		default:
			return
		}
	}
}

var (
	errListenerClosed = fmt.Errorf("listener: %w", net.ErrClosed)
	errStreamClosed   = fmt.Errorf("stream: %w", net.ErrClosed)
	errConcurrent     = errors.New("two reads of one stream at once")
)
