package transporttest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// Private is a carrier as those see it who try to get into a private swarm.
type Private struct {
	ALPN string // the protocol that the carrier speaks in TLS
	// OldTLS says that a hello of TLS 1.2 can be sent over it.
	OldTLS bool
	// Row makes the carrier of a node, and has a function hear whom its listeners
	// refuse, unless that is nil.
	Row func(*identity.Credentials, func(transport.Refusal)) transport.Transport
	// Knock shakes hands with addr under these settings, behaves as well as it
	// can, and returns how many bytes it was told until it was turned away.
	Knock func(ctx context.Context, addr string, config *tls.Config) (told int, err error)
	// Trap takes whoever dials under these settings. After stop it returns how
	// many bytes it was told.
	Trap func(t testing.TB, config *tls.Config) (addr string, stop func() (told int))
}

func (p Private) row(c *identity.Credentials) transport.Transport { return p.Row(c, nil) }

// RunPrivate proves that a private swarm over a carrier is for its members:
// whoever else dials, or is dialled, is told nothing, and others are served
// meanwhile. Each who is refused is reported once, and why.
func RunPrivate(t *testing.T, p Private) {
	swarm := NewSwarm(t)
	for _, in := range swarm.Intruders(t, p.ALPN) {
		t.Run(in.Name, func(t *testing.T) {
			d := newDoor(t, p, swarm)
			told, err := p.Knock(background(t), d.addr(), in.Dial)
			if told != 0 || err == nil {
				t.Errorf("the intruder was told %d bytes, and then %v", told, err)
			}
			d.refused(t, in.Reason)
			d.servesMembersAlone(t)
			if in.Listen == nil {
				return
			}
			addr, stop := p.Trap(t, in.Listen)
			s, err := p.row(swarm.Member(t)).Dial(background(t), addr)
			if err == nil {
				_ = s.Close()
				t.Error("a member took the intruder for another")
			}
			if _, ok := errors.AsType[*transport.DialError](err); !ok {
				t.Errorf("dialling the intruder: %v", err)
			}
			if told := stop(); told != 0 {
				t.Errorf("the intruder was told %d bytes by a member that dialled it", told)
			}
		})
	}
	for name, stranger := range map[string]*identity.Credentials{
		"NodeWithoutKey":      identity.Ephemeral(),
		"NodeWithAnotherKey":  NewSwarm(t).Member(t),
		"NodeOfALaterVersion": nil,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, p, swarm)
			if stranger == nil { // which speaks another protocol, and is no member
				_, err := p.Knock(background(t), d.addr(), swarm.Member(t).Client(p.ALPN+"0"))
				if err == nil {
					t.Error("it got in")
				}
				d.refused(t, transport.ReasonProtocol)
				d.servesMembersAlone(t)
				return
			}
			err := use(t, p.row(stranger), d.addr())
			if !knowsWhy(err) {
				t.Errorf("the stranger was told %v", err)
			}
			d.refused(t, transport.ReasonBrokeOff) // a dialler judges first
			d.servesMembersAlone(t)

			theirs := listen(t, p.row(stranger))
			if err := use(t, p.row(swarm.Member(t)), theirs.Addr().String()); !errors.Is(err, identity.ErrForeign) {
				t.Errorf("a member that dialled the stranger was told %v", err)
			}
		})
	}
	t.Run("AnotherMember", func(t *testing.T) {
		// Whom a tracker has named is expected, and nobody else of the swarm.
		d := newDoor(t, p, swarm)
		me := swarm.Member(t)
		table := transport.Table{p.row(me)}
		if s, err := table.Expecting(swarm.Member(t).ID()).Dial(background(t), d.addr()); !errors.Is(err, transport.ErrOtherNode) {
			t.Errorf("expecting another: %v, %v", s, err)
		}
		d.servesMembersAfter(t, me.ID())
	})
	t.Run("OldTLS", func(t *testing.T) {
		d := newDoor(t, p, swarm)
		config := swarm.Member(t).Client(p.ALPN) // a member's own, but for the version
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if told, err := p.Knock(background(t), d.addr(), config); told != 0 || err == nil {
			t.Errorf("told %d bytes, and then %v", told, err)
		}
		if p.OldTLS {
			d.refused(t, transport.ReasonProtocol)
		}
		d.servesMembersAlone(t)
	})
}

// knowsWhy reports whether an error says that this is a matter of swarm keys.
func knowsWhy(err error) bool {
	for _, why := range []error{identity.ErrRefused, identity.ErrForeign, identity.ErrPrivate} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// use dials and asks something, and returns what came of it: over QUIC a
// dialler hears of a refusal a moment after it has dialled.
func use(t testing.TB, tr transport.Transport, addr string) error {
	t.Helper()
	s, err := tr.Dial(background(t), addr)
	if err != nil {
		return err
	}
	defer s.Close()
	st, err := s.Open(background(t))
	if err != nil {
		return err
	}
	if _, err := st.Write([]byte("?")); err != nil {
		return err
	}
	if err := st.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = st.Read(make([]byte, 1))
	return err
}

// door is the listener of a member, and whom it let in.
type door struct {
	p       Private
	swarm   Swarm
	l       transport.Listener
	entered chan transport.Session
	knocks  chan transport.Refusal
	scheme  string
}

// maxKnocks is more than any test has refused at a door.
const maxKnocks = 16

func newDoor(t testing.TB, p Private, swarm Swarm) *door {
	t.Helper()
	d := &door{p: p, swarm: swarm, entered: make(chan transport.Session), knocks: make(chan transport.Refusal, maxKnocks)}
	row := p.Row(swarm.Member(t), func(r transport.Refusal) { d.knocks <- r })
	d.l = listen(t, row)
	d.scheme = row.Scheme
	ctx, stop := context.WithCancel(context.Background())
	accepting := later(func() error {
		for {
			s, err := d.l.Accept(ctx)
			if err != nil {
				return err
			}
			select {
			case d.entered <- s:
			case <-ctx.Done():
				_ = s.Close()
			}
		}
	})
	t.Cleanup(func() {
		stop()
		if err := <-accepting; !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting: %v", err)
		}
		_ = d.l.Close() // nobody is reported behind it
		for len(d.knocks) > 0 {
			t.Errorf("one more was refused: %v", <-d.knocks)
		}
	})
	return d
}

// refused has the next one who was refused be so for that reason.
func (d *door) refused(t testing.TB, why transport.Reason) {
	t.Helper()
	r := wait(t, "who was refused", d.knocks)
	from, err := netip.ParseAddrPort(r.From.String())
	if r.Reason != why || r.Scheme != d.scheme || r.Err == nil || err != nil || !from.Addr().IsLoopback() {
		t.Errorf("refused %+v; want %s over %s", r, why, d.scheme)
	}
}

func (d *door) addr() string { return d.l.Addr().String() }

// servesMembersAlone has a member come in, which must be the next one to do so.
func (d *door) servesMembersAlone(t testing.TB) {
	t.Helper()
	d.servesMembersAfter(t, identity.ID{})
}

// servesMembersAfter is servesMembersAlone when another has dialled and left
// without a word. Over QUIC its last packet of the handshake may never have left,
// so that nobody came in.
func (d *door) servesMembersAfter(t testing.TB, left identity.ID) {
	t.Helper()
	member := d.swarm.Member(t)
	s, err := d.p.row(member).Dial(background(t), d.addr())
	if err != nil {
		t.Fatalf("a member was turned away: %v", err)
	}
	defer s.Close()
	other := wait(t, "the member's session", d.entered)
	defer func() { other.Close() }()
	if left != (identity.ID{}) && other.Peer() == left {
		if st, err := other.Accept(background(t)); err == nil {
			t.Errorf("it opened a stream: %v", st)
		}
		other.Close()
		other = wait(t, "the member's session", d.entered)
	}
	if other.Peer() != member.ID() {
		t.Fatalf("let in %v; the member is %v", other.Peer(), member.ID())
	}
	near, far := stream(t, s, other)
	mustClose(t, near)
	mustClose(t, far)
}
