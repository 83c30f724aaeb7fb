package tracker

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func probe(dialBack bool) *wire.Request {
	return &wire.Request{Kind: &wire.Request_Probe{Probe: &wire.Probe{DialBack: dialBack}}}
}

// listens accepts sessions at addr, and answers hellos if it is not mute. The
// function that it returns tells how many have come, and ends it.
func (w *world) listens(addr string, mute bool) (ended func() int) {
	w.t.Helper()
	at := netip.MustParseAddrPort(addr)
	ls, err := w.table(at.Addr().String()).Listen(w.t.Context(), addr)
	if err != nil {
		w.t.Fatal(err)
	}
	n, done := 0, make(chan struct{})
	var kept []transport.Session
	go func() {
		defer close(done)
		for {
			sess, err := ls[0].Accept(w.t.Context())
			if err != nil {
				return
			}
			n++
			kept = append(kept, sess)
			if mute {
				continue
			}
			st, err := sess.Accept(w.t.Context())
			if err != nil {
				continue
			}
			if _, err := wire.ReadHello(st); err == nil {
				_ = wire.Write(st, &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: []byte("twenty bytes of node")})
			}
			_ = st.Close()
		}
	}()
	return func() int {
		ls[0].Close()
		<-done
		for _, s := range kept {
			s.Close()
		}
		return n
	}
}

func TestAProbeIsAnsweredByDialingTheAskersOwnAddressAndNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.change = func(o *Options) { o.TrustAnnounced = []netip.Prefix{netip.MustParsePrefix("10.2.0.1/32")} }
		w.start(addrA)
		own, victim := w.listens("10.1.0.1:5", false), w.listens("10.9.9.9:5", false)

		c := w.call(addrA, "10.1.0.1:5")
		r := c.ok(probe(true), nil).GetProbed()
		if d := r.GetDialled(); len(d) != 1 || string(d[0].GetNodeId()) != "twenty bytes of node" || d[0].GetError() != "" {
			t.Errorf("dialled back: %v", d)
		}
		if r.GetSource() != "10.1.0.1" || r.GetRefused() != "" || r.GetClockMs() != time.Now().UnixMilli() {
			t.Errorf("answer: %v", r)
		}
		if r = c.ok(probe(false), nil).GetProbed(); len(r.GetDialled()) != 0 {
			t.Errorf("dialled unasked: %v", r)
		}

		c.addr = "10.9.9.9:5"
		r = c.ok(probe(true), nil).GetProbed()
		if len(r.GetDialled()) != 0 || !strings.Contains(r.GetRefused(), "10.9.9.9") || !strings.Contains(r.GetRefused(), "10.1.0.1") {
			t.Errorf("another's address: %v", r)
		}
		// One that may announce others has none of them dialled either.
		trusted := w.call(addrA, "10.2.0.1:5")
		trusted.addr = "10.9.9.9:5"
		r = trusted.ok(probe(true), nil).GetProbed()
		if len(r.GetDialled()) != 0 || r.GetRefused() != "" {
			t.Errorf("another's address, from a trusted network: %v", r)
		}
		if n := own(); n != 1 {
			t.Errorf("the asker was dialled %d times", n)
		}
		if n := victim(); n != 0 {
			t.Errorf("a stranger was dialled %d times", n)
		}
	})
}

func TestAProbeTellsWhyNobodyAnswersAtTheAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:5")
		d := c.ok(probe(true), nil).GetProbed().GetDialled()
		if len(d) != 1 || !strings.Contains(d[0].GetError(), "refused") || len(d[0].GetNodeId()) != 0 {
			t.Errorf("where nobody listens: %v", d)
		}
		ended := w.listens("10.1.0.1:5", true)
		d = c.ok(probe(true), nil).GetProbed().GetDialled()
		if len(d) != 1 || !strings.Contains(d[0].GetError(), "said nothing within 3s") {
			t.Errorf("where something is silent: %v", d)
		}
		if n := ended(); n != 1 {
			t.Errorf("dialled %d times", n)
		}
	})
}

func TestAStreamThatEndsWhileItsAskerIsDialledLeavesNothingBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		ended := w.listens("10.1.0.1:5", true)
		c := w.call(addrA, "10.1.0.1:5")
		c.send(probe(true), nil)
		w.pass(time.Millisecond)
		c.sess.Close()
		w.pass(time.Millisecond) // far less than the dial is given
		if n := len(w.running[addrA].dialBacks); n != 0 {
			t.Errorf("%d dials go on", n)
		}
		ended()
	})
}

func TestEachSourceHasItsShareOfProbes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limits = &limits{sessions: maxSessions, sessionsPerIP: maxSessionsPerIP, hashBurst: hashBurst, probeBurst: 3}
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:5")
		for range 3 {
			c.ok(probe(false), nil)
		}
		if r := c.do(probe(true), nil); r.GetError() != wire.Error_ERROR_TOO_MANY || r.GetProbed() != nil {
			t.Errorf("the fourth: %v", r)
		}
		w.call(addrA, "10.1.0.2:5").ok(probe(false), nil)
		w.pass(time.Second)
		c.ok(probe(false), nil)
	})
}

func TestProbesOfTrackersThatAgreeAreTheSame(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		c := w.call(addrA, "10.1.0.1:5")
		c.share(fileOf("f", 1))
		w.settle()
		ask := func(tracker string) *wire.Probed {
			return w.call(tracker, "10.1.0.1:5").ok(probe(false), nil).GetProbed()
		}
		a, b := ask(addrA), ask(addrB)
		if !bytes.Equal(a.GetVector(), b.GetVector()) || !bytes.Equal(a.GetList(), b.GetList()) || a.GetListed() != 1 || b.GetTorrents() != 1 {
			t.Errorf("in step:\n%v\n%v", a, b)
		}
		l := a.GetLinks()
		if len(l) != 1 || l[0].GetAddr() != addrB || !bytes.Equal(l[0].GetNodeId(), b.GetNodeId()) || !l[0].GetConnected() || !l[0].GetFollowing() || l[0].GetBehind() != 0 {
			t.Errorf("link with B: %v", l)
		}
		w.kill(addrB)
		w.pass(time.Millisecond) // until A has noticed, on its stream of changes too
		c.share(fileOf("g", 1))
		next := ask(addrA)
		if l = next.GetLinks(); len(l) != 1 || l[0].GetConnected() || l[0].GetFollowing() || l[0].GetBehind() == 0 {
			t.Errorf("link with B, which is gone: %v", l)
		}
		if bytes.Equal(next.GetVector(), a.GetVector()) || bytes.Equal(next.GetList(), a.GetList()) {
			t.Errorf("a change does not show: %v", next)
		}
	})
}
