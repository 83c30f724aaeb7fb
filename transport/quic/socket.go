package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	quicgo "github.com/quic-go/quic-go"
)

// bufferWanted is how many bytes of packets a UDP socket should hold in each
// direction: what arrives at 1 Gbit/s while the reader is off the CPU for
// 60 ms. Measured on loopback, buffers of a few hundred KiB cost a fifth of
// the throughput.
const bufferWanted = 7_500_000

// Buffers are the bytes that the system grants a UDP socket of an ordinary user in
// each direction, of those that this package asks for.
func Buffers(ctx context.Context) (receive, send, wanted int, err error) {
	pc, err := new(net.ListenConfig).ListenPacket(ctx, "udp", ":0")
	if err != nil {
		return 0, 0, 0, err
	}
	udp, ok := pc.(*net.UDPConn)
	defer func() { _ = pc.Close() }() // nothing was sent on it
	if !ok {
		return 0, 0, 0, errors.ErrUnsupported
	}
	if receive, err = readBuffer(udp, bufferWanted); err != nil {
		return 0, 0, 0, err
	}
	if send, err = writeBuffer(udp, bufferWanted); err != nil {
		return 0, 0, 0, err
	}
	return receive, send, bufferWanted, nil
}

// socket is a UDP socket with QUIC on it. It is closed when its last user,
// a listener or a session, releases it.
type socket struct {
	udp  *net.UDPConn
	quic *quicgo.Transport

	mu    sync.Mutex
	users int
}

// bind opens a socket with one user, the caller. verify is the transport's
// VerifySourceAddress; a socket that only dials needs none.
func (c *carrier) bind(ctx context.Context, network, hostPort string, verify func(net.Addr) bool) (*socket, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, network, hostPort)
	if err != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close() // nothing was sent on it
		return nil, fmt.Errorf("%s is no UDP network", network)
	}
	c.sizeBuffers(udp)
	return &socket{
		udp:   udp,
		quic:  &quicgo.Transport{Conn: udp, VerifySourceAddress: verify},
		users: 1,
	}, nil
}

// sizeBuffers asks for large buffers and tells the log, once per carrier, when
// the system grants less.
func (c *carrier) sizeBuffers(udp *net.UDPConn) {
	recv, errRecv := growReadBuffer(udp, c.buffers)
	send, errSend := growWriteBuffer(udp, c.buffers)
	if recv >= c.buffers && send >= c.buffers {
		return
	}
	c.clamped.Do(func() {
		attrs := []any{"wanted_bytes", c.buffers, "receive_bytes", recv, "send_bytes", send, "hint", bufferHint}
		for _, err := range []error{errRecv, errSend} {
			if err != nil {
				attrs = append(attrs, "error", err)
				break
			}
		}
		c.log.Warn("UDP buffers are smaller than wanted, QUIC will be slower", attrs...)
	})
}

func (k *socket) retain() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users++
}

// release gives up one use. The last one closes the socket and waits for
// QUIC's goroutines on it.
func (k *socket) release() error {
	k.mu.Lock()
	k.users--
	last := k.users == 0
	k.mu.Unlock()
	if !last {
		return nil
	}
	err := k.quic.Close()
	if cerr := k.udp.Close(); err == nil {
		err = cerr
	}
	return err
}

// unmapped is addr with an IPv4 address in its short form. A socket for both
// families reports IPv4 peers as ::ffff:a.b.c.d.
func unmapped(addr net.Addr) net.Addr {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return addr
	}
	ap := udp.AddrPort()
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}
