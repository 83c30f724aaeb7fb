package tracker

import (
	"slices"
	"testing"

	"github.com/mtor-dev/mtor/roles/wire"
)

const addrC = "10.0.0.3:7000"

func (w *world) three() {
	w.start(addrA, addrB, addrC)
	w.start(addrB, addrA, addrC)
	w.start(addrC, addrA, addrB)
	w.settle()
}

func TestThreeTrackersAgreeWhileOneIsDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.three()
		f, g := fileOf("f", 1), fileOf("g", 1)
		a, b := w.call(addrA, "10.1.0.1:1"), w.call(addrB, "10.1.0.2:2")
		a.share(f)
		w.settle()
		w.kill(addrC)
		b.share(g)
		a.ok(remove(f), nil)
		w.settle()
		w.kill(addrB)
		w.start(addrC, addrA, addrB) // hears of B's row from A
		w.settle()
		for _, tracker := range []string{addrA, addrC} {
			w.expect(tracker, f)
			w.expect(tracker, g, "10.1.0.2:2+")
		}
	})
}

func TestAReplyNamesTheOtherTrackersOncePerStream(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.three()
		f := fileOf("f", 1)
		c := w.call(addrA, "10.1.0.1:1")
		if r := c.do(announce(f, true), nil); len(r.GetTrackers()) != 0 {
			t.Errorf("a refusal names %q", r.GetTrackers())
		}
		for i, req := range []*wire.Request{announceNew(f, true), announce(f, true), renew(f)} {
			var hashes []byte
			if i == 0 {
				hashes = f.hashes
			}
			r := c.ok(req, hashes)
			if want := []string{addrB, addrC}; i == 0 && !slices.Equal(r.GetTrackers(), want) || i > 0 && r.GetTrackers() != nil {
				t.Errorf("reply %d names %q", i, r.GetTrackers())
			}
		}
		w.settle()
		r := w.call(addrB, "10.1.0.1:1").ok(renew(f), nil)
		if want := []string{addrA, addrC}; !slices.Equal(r.GetTrackers(), want) {
			t.Errorf("the reply to a renewal elsewhere names %q, want %q", r.GetTrackers(), want)
		}
	})
}

func TestPeersChangeWhileTrackersRun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		w.start(addrC, addrA, addrB) // which nobody has told A and B of
		w.settle()
		w.expect(addrC, f)

		for addr, others := range map[string][]string{addrA: {addrB, addrC}, addrB: {addrA, addrC}} {
			if err := w.running[addr].SetPeers(others); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		w.expect(addrC, f, "10.1.0.1:1+")
		if got := c.ok(renew(f), nil).GetTrackers(); !slices.Equal(got, []string{addrB, addrC}) {
			t.Errorf("the client is told of %q", got)
		}
		g := fileOf("g", 1)
		w.call(addrC, "10.1.0.2:2").share(g)
		w.settle()
		w.expect(addrA, g, "10.1.0.2:2+")
		w.expect(addrB, g, "10.1.0.2:2+")

		// B leaves: neither does A follow it, nor may it pull from A.
		for addr, others := range map[string][]string{addrA: {addrC}, addrC: {addrA}} {
			if err := w.running[addr].SetPeers(others); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		h, i := fileOf("h", 1), fileOf("i", 1)
		c.share(h)
		w.call(addrB, "10.1.0.3:3").share(i)
		w.settle()
		w.expect(addrC, h, "10.1.0.1:1+")
		w.expect(addrB, h)
		w.expect(addrA, i)
		w.expect(addrC, i)
		if err := w.running[addrA].SetPeers([]string{"nowhere"}); err == nil {
			t.Error("an address without a port is taken")
		}
	})
}
