package tracker

import (
	"net/netip"
	"testing"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport/identity"
)

// intrude has others than the owner try everything at a tracker, from the same
// address.
func (w *world) intrude(tracker, addr string, f, other file) {
	w.t.Helper()
	for name, c := range map[string]*caller{
		"nobody":       w.call(tracker, addr),
		"another node": w.callBy(identity.ID{66}, tracker, addr),
	} {
		for what, req := range map[string]*wire.Request{
			"announce":                announce(f, true),
			"make it partial":         announce(f, false),
			"announce something else": announce(other, true),
			"remove":                  remove(f),
			"leave":                   leave(),
			"renew":                   renew(f),
		} {
			if r := c.do(req, nil); r.GetError() != wire.Error_ERROR_FOREIGN_KEY || r.GetMessage() == "" || r.GetStamp() != 0 {
				w.t.Errorf("tracker %s: %s may %s: %v", tracker, name, what, r)
			}
		}
		_ = c.sess.Close()
	}
}

func TestRowsOfAKeyAreChangedByNobodyElseAtAnyTracker(t *testing.T) {
	const addr = "10.1.0.1:1"
	alice := identity.ID{1}
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f, other := fileOf("f", 2), fileOf("other", 1)
		w.call(addrA, "10.1.0.2:2").share(other)
		mine := w.callBy(alice, addrA, addr)
		mine.share(f)
		w.intrude(addrA, addr, f, other)
		w.settle()
		w.intrude(addrB, addr, f, other) // which has it by replication alone
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, addr+"+")
			w.kill(tracker)
			w.start(tracker, map[string]string{addrA: addrB, addrB: addrA}[tracker])
			w.settle()
			w.intrude(tracker, addr, f, other) // out of its file
		}

		// The owner itself is served by either.
		there := w.callBy(alice, addrB, addr)
		there.stamp = mine.stamp
		there.ok(renew(f), nil)
		there.ok(announce(other, true), nil)
		w.settle()
		w.intrude(addrA, addr, f, other) // which is its home no more
		there.ok(leave(), nil)
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f)
		}
		w.call(addrA, addr).share(f) // the address is free again
	})
}

func TestListsTellByWhichKeyAPeerWillBeFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		nodes := map[netip.AddrPort]identity.ID{
			netip.MustParseAddrPort("10.1.0.1:1"):  {1},
			netip.MustParseAddrPort("[fd00::1]:1"): {2},
			netip.MustParseAddrPort("10.1.0.3:1"):  {},
		}
		for addr, node := range nodes {
			if node.IsZero() {
				w.call(addrA, addr.String()).share(f)
			} else {
				w.callBy(node, addrA, addr.String()).share(f)
			}
		}
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			r := w.call(tracker, "10.9.9.9:9").ok(&wire.Request{Kind: &wire.Request_SeederList{
				SeederList: &wire.SeederList{TorrentId: f.id(), Want: 200},
			}}, nil)
			list, err := r.GetSeeders().Unpack()
			if err != nil || len(list) != len(nodes) {
				t.Fatalf("tracker %s lists %v, %v", tracker, list, err)
			}
			for _, s := range list {
				if s.Node != nodes[s.Addr] {
					t.Errorf("tracker %s: %v is node %x, want %v", tracker, s.Addr, s.Node, nodes[s.Addr])
				}
			}
		}
	})
}

func TestKeyThatIsNotProvenIsNoKey(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		w.callBy(identity.ID{1}, addrA, "10.1.0.1:1").share(f)
		for name, who := range map[string]struct{ proves, claims identity.ID }{
			"in the clear": {identity.ID{}, identity.ID{1}},
			"another key":  {identity.ID{2}, identity.ID{1}},
		} {
			sess, err := w.net.TransportOf(netip.MustParseAddr("10.1.0.1"), who.proves).Dial(t.Context(), addrA)
			if err != nil {
				t.Fatal(err)
			}
			_ = w.say(sess, keyed(who.claims)) // its answer may be cut off
			if got := ending(t, sess); got != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("%s: ended with %v", name, got)
			}
		}
		w.expect(addrA, f, "10.1.0.1:1+")
	})
}
