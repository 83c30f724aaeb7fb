package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"syscall"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// door is the role's own port for as long as it is looked at.
type door struct {
	id        [wire.NodeIDSize]byte
	addr      netip.AddrPort // to be known by, with the real port
	listeners []transport.Listener
	err       error // why it could not be bound
	cancel    context.CancelFunc
	answers   sync.WaitGroup
}

// inUse reports whether somebody else has the port: the role itself, most
// likely.
func (d *door) inUse() bool { return errors.Is(d.err, syscall.EADDRINUSE) }

// mine reports whether whoever is reached at the address must be this process.
func (d *door) mine() bool { return d.err == nil }

// open binds the role's port, if it is free, and answers hellos there.
func (e *examination) open(ctx context.Context) *door {
	d := &door{addr: e.Own, id: e.ID}
	if d.id == [wire.NodeIDSize]byte{} {
		_, _ = rand.Read(d.id[:]) // never fails
	}
	ctx, d.cancel = context.WithCancel(ctx)
	if d.listeners, d.err = e.Carriers.Listen(ctx, e.Listen); d.err != nil {
		return d
	}
	if bound, err := netip.ParseAddrPort(d.listeners[0].Addr().String()); err == nil && d.addr.Port() == 0 {
		d.addr = netip.AddrPortFrom(d.addr.Addr(), bound.Port())
	}
	for _, l := range d.listeners {
		d.answers.Go(func() {
			for {
				sess, err := l.Accept(ctx)
				if err != nil {
					return
				}
				d.answers.Go(func() { d.answer(ctx, sess) })
			}
		})
	}
	return d
}

func (d *door) close() {
	d.cancel()
	for _, l := range d.listeners {
		_ = l.Close()
	}
	d.answers.Wait()
}

func (d *door) hello() *wire.Hello {
	return &wire.Hello{
		Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: d.id[:],
		ListenAddr: d.addr.String(), Agent: "mtor doctor",
	}
}

// answer says hello to whoever has come, and waits until he goes.
func (d *door) answer(ctx context.Context, sess transport.Session) {
	defer func() { _ = sess.Close() }() // nothing more is wanted of it
	ctx, cancel := context.WithTimeout(ctx, guestTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = sess.Close() })
	defer stop()
	st, err := sess.Accept(ctx)
	if err != nil {
		return
	}
	if _, err := wire.ReadHello(st); err != nil {
		return
	}
	b, err := wire.Append(nil, d.hello())
	if err != nil || transport.WriteLast(st, b) != nil {
		return
	}
	select {
	case <-sess.Done():
	case <-ctx.Done():
	}
}
