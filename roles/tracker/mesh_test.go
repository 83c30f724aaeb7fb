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
