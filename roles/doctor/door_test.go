package doctor

import (
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheDoorAnswersUnderItsOwnIDWhileItIsOpen(t *testing.T) {
	net := transporttest.NewNetwork()
	row := func(ip string) transport.Table { return transport.Table{net.Transport(netip.MustParseAddr(ip))} }
	e := &examination{Options{Role: "client", Listen: "10.0.0.9:0", Own: netip.MustParseAddrPort("0.0.0.0:0"), Carriers: row("10.0.0.9")}}
	d := e.open(t.Context())
	if !d.mine() || d.addr.Port() == 0 {
		t.Fatalf("%v, %v", d.addr, d.err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.9"), d.addr.Port()).String()

	second := &examination{Options{Listen: to, Carriers: row("10.0.0.9")}}
	if taken := second.open(t.Context()); !taken.inUse() || taken.mine() {
		t.Errorf("a port in use: %v", taken.err)
	}

	greet := func() (*wire.Hello, error) {
		sess, err := row("10.0.0.1").Dial(t.Context(), to)
		if err != nil {
			return nil, err
		}
		defer sess.Close()
		st, err := sess.Open(t.Context())
		if err != nil {
			return nil, err
		}
		if err := wire.Write(st, &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: node("tracker")}); err != nil {
			return nil, err
		}
		return wire.ReadHello(st)
	}
	if h, err := greet(); err != nil || string(h.GetNodeId()) != string(d.id[:]) {
		t.Errorf("answered %v, %v", h, err)
	}
	d.close()
	if h, err := greet(); err == nil {
		t.Errorf("closed, and answered %v", h)
	}
}
