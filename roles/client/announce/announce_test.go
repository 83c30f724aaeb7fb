//nolint:forbidigo // time.Sleep: all of it is virtual time
package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tracker is the other side: it writes down what it is asked and answers what
// the test wants, or OK.
type tracker struct {
	addr   string
	answer func(req *wire.Request, hashes int) *wire.Reply

	mu   sync.Mutex
	log  []string
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func startTracker(t *testing.T, tr transport.Transport, addr string, answer func(*wire.Request, int) *wire.Reply) *tracker {
	t.Helper()
	l, err := tr.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	x := &tracker{addr: addr, answer: answer, stop: cancel}
	x.wg.Go(func() {
		for {
			sess, err := l.Accept(ctx)
			if err != nil {
				return
			}
			x.wg.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = sess.Close() })()
				_ = x.serve(ctx, sess)
				_ = sess.Close()
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); x.wg.Wait() })
	return x
}

// kill ends the tracker and its sessions.
func (x *tracker) kill() { x.stop() }

func (x *tracker) serve(ctx context.Context, sess transport.Session) error {
	hi, err := sess.Accept(ctx)
	if err != nil {
		return err
	}
	if _, err := wire.ReadHello(hi); err != nil {
		return err
	}
	hello, err := wire.Append(nil, &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_TRACKER, NodeId: make([]byte, wire.NodeIDSize)})
	if err != nil {
		return err
	}
	if err := transport.WriteLast(hi, hello); err != nil {
		return err
	}
	st, err := sess.Accept(ctx)
	if err != nil {
		return err
	}
	in := wire.NewReader(st)
	if err := in.Next(new(wire.Open), wire.MaxMessage); err != nil {
		return err
	}
	for {
		req := new(wire.Request)
		if err := in.Next(req, wire.MaxMessage); err != nil {
			return err
		}
		n, err := in.Discard(int(req.GetAnnounce().GetHashLength()))
		if err != nil {
			return err
		}
		x.mu.Lock()
		x.log = append(x.log, words(req, n))
		x.mu.Unlock()
		reply := &wire.Reply{}
		if x.answer != nil {
			if r := x.answer(req, n); r != nil {
				reply = r
			}
		}
		if err := wire.Write(st, reply); err != nil {
			return err
		}
	}
}

// words is a request in short: "announce whole", "renew 2".
func words(req *wire.Request, hashes int) string {
	switch k := req.GetKind().(type) {
	case *wire.Request_Announce:
		state := "partial"
		if k.Announce.GetWhole() {
			state = "whole"
		}
		if hashes > 0 {
			return fmt.Sprintf("announce %s with %d bytes of hashes of %s", state, hashes, k.Announce.GetFilename())
		}
		return "announce " + state
	case *wire.Request_SeederList:
		return "list"
	case *wire.Request_Remove:
		return "remove"
	case *wire.Request_Leave:
		return "leave"
	case *wire.Request_Renew:
		return fmt.Sprintf("renew %d", k.Renew.GetTorrents())
	}
	return "?"
}

func (x *tracker) heard() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.log)
}

// stamps is a client's memory of the newest stamp.
type stamps struct {
	mu sync.Mutex
	s  uint64
}

func (s *stamps) Stamp() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

func (s *stamps) SetStamp(x uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s = max(s.s, x)
	return nil
}

var (
	content = &torrentfmt.Torrent{Name: "data", Size: 5, Hashes: make([]byte, torrentfmt.HashSize)}
	id      = content.ID()
)

const (
	addrA = "127.0.0.1:1001"
	addrB = "127.0.0.1:1002"
)

// bubble runs test in virtual time with a group over two trackers' addresses,
// which does nothing before the test calls run.
func bubble(t *testing.T, test func(t *testing.T, tr transport.Transport, g *rig, found chan []wire.Seeder)) {
	synctest.Test(t, func(t *testing.T) {
		tr := transporttest.Memory()
		found := make(chan []wire.Seeder, 100)
		g := NewGroup(Options{
			Trackers: []string{addrA, addrB},
			Dialer:   dialer{tr},
			Self:     &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize)},
			Addr:     netip.MustParseAddrPort("127.0.0.1:7001"),
			Stamps:   &stamps{},
			Found:    func(_ torrentfmt.ID, s []wire.Seeder) { found <- s },
			Log:      slog.New(slog.DiscardHandler),
		})
		var running sync.WaitGroup
		defer running.Wait()
		defer g.Stop()
		test(t, tr, &rig{g, func() { running.Go(g.Run) }}, found)
	})
}

// rig is a group and what starts it.
type rig struct {
	*Group
	run func()
}

type dialer struct{ tr transport.Transport }

func (d dialer) Dial(ctx context.Context, addr string) (transport.Session, error) {
	return d.tr.Dial(ctx, addr)
}

func expect(t *testing.T, x *tracker, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := x.heard(); !slices.Equal(got, want) {
		t.Errorf("tracker %s heard\n\t%s\nwant\n\t%s", x.addr, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestTheHashStringTravelsOnlyWhenTheTrackerLacksIt(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		known := false
		x := startTracker(t, tr, addrA, func(req *wire.Request, hashes int) *wire.Reply {
			if req.GetAnnounce() == nil {
				return nil
			}
			if hashes > 0 {
				known = true
			}
			if !known {
				return &wire.Reply{Error: wire.Error_ERROR_NEED_HASHES}
			}
			return &wire.Reply{Stamp: 5}
		})
		g.run()
		g.Put(id, content, false, false)
		if err := g.Announced(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		g.Put(id, content, true, false)
		if err := g.Announced(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		expect(t, x, "leave", "announce partial", "announce partial with 20 bytes of hashes of data", "announce whole")
		if got := g.o.Stamps.Stamp(); got != 5 {
			t.Errorf("stamp %d kept, want 5", got)
		}
	})
}

func TestWhenItsTrackerDiesTheClientIsListedAtTheOther(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		a, b := startTracker(t, tr, addrA, nil), startTracker(t, tr, addrB, nil)
		g.run()
		g.Put(id, content, true, false)
		expect(t, a, "leave", "announce whole")
		expect(t, b)
		a.kill()
		expect(t, b, "announce whole")
		if !g.Reachable() {
			t.Error("a tracker is connected, and none can be reached")
		}
	})
}

// silent is a way to trackers on which one address never answers.
type silent struct {
	Dialer
	addr string
}

func (d silent) Dial(ctx context.Context, addr string) (transport.Session, error) {
	if addr == d.addr {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.Dialer.Dial(ctx, addr)
}

func TestATrackerThatIsSilentDelaysNothingForLong(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		g.o.Dialer = silent{g.o.Dialer, addrA}
		b := startTracker(t, tr, addrB, nil)
		began := time.Now()
		g.run()
		g.Put(id, content, true, false)
		if err := g.Announced(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		expect(t, b, "leave", "announce whole")
		if d := time.Since(began); d > headStart {
			t.Errorf("announced after %s, want %s", d, headStart)
		}
	})
}

func TestWithBothTrackersDownItIsAnnouncedOnceOneComes(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		g.run()
		g.Put(id, content, true, false)
		if err := g.Announced(t.Context(), id); err == nil {
			t.Error("announced to nobody")
		}
		if g.Reachable() {
			t.Error("no tracker is there, and one can be reached")
		}
		x := startTracker(t, tr, addrB, nil)
		time.Sleep(retryMax)
		expect(t, x, "leave", "announce whole")
	})
}

func TestARenewalThatDoesNotMatchAnnouncesEverythingAgain(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		refuse := 2
		x := startTracker(t, tr, addrA, func(req *wire.Request, _ int) *wire.Reply {
			if req.GetRenew() != nil && refuse > 0 {
				refuse--
				return &wire.Reply{Error: wire.Error_ERROR_NEED_LIST}
			}
			return &wire.Reply{LeaseSeconds: 40}
		})
		g.run()
		g.Put(id, content, true, false)
		expect(t, x, "leave", "announce whole")
		time.Sleep(10 * time.Second)
		expect(t, x, "leave", "announce whole", "renew 1", "announce whole")
		time.Sleep(10 * time.Second) // again no match: what is too much there goes first
		expect(t, x, "leave", "announce whole", "renew 1", "announce whole", "renew 1", "leave", "announce whole")
		time.Sleep(10 * time.Second)
		expect(t, x, "leave", "announce whole", "renew 1", "announce whole", "renew 1", "leave", "announce whole", "renew 1")
	})
}

func TestARemovalThatNoTrackerHeardIsMadeUpFor(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		a := startTracker(t, tr, addrA, nil)
		g.run()
		g.Put(id, content, true, false)
		expect(t, a, "leave", "announce whole")
		a.kill()
		synctest.Wait()
		if err := g.Remove(t.Context(), id); err == nil {
			t.Error("removed from nobody")
		}
		b := startTracker(t, tr, addrB, nil)
		time.Sleep(retryMax)
		expect(t, b, "remove")
	})
}

func TestAHungryTorrentAsksAgainAndLessAndLessOften(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, found chan []wire.Seeder) {
		seeder := wire.Seeder{Addr: netip.MustParseAddrPort("127.0.0.1:7002"), Whole: true}
		x := startTracker(t, tr, addrA, func(req *wire.Request, _ int) *wire.Reply {
			if req.GetSeederList() == nil {
				return nil
			}
			return &wire.Reply{Seeders: wire.PackSeeders([]wire.Seeder{seeder})}
		})
		g.run()
		g.Put(id, content, false, true)
		time.Sleep(7 * time.Second)
		expect(t, x, "leave", "announce partial", "list", "list", "list")
		if got := <-found; !slices.Equal(got, []wire.Seeder{seeder}) {
			t.Errorf("found %v", got)
		}
		g.Put(id, content, true, false)
		time.Sleep(20 * time.Second)
		expect(t, x, "leave", "announce partial", "list", "list", "list", "announce whole")
	})
}

func TestARefusalIsToldAndTriedAgainLater(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		refuse := true
		x := startTracker(t, tr, addrA, func(req *wire.Request, _ int) *wire.Reply {
			if req.GetAnnounce() != nil && refuse {
				refuse = false
				return &wire.Reply{Error: wire.Error_ERROR_FOREIGN_ADDRESS, Message: "not yours"}
			}
			return nil
		})
		g.run()
		g.Put(id, content, true, false)
		var refused *wire.CodeError
		if err := g.Announced(t.Context(), id); !errors.As(err, &refused) || refused.Msg != "not yours" {
			t.Errorf("got %v, want the tracker's words", err)
		}
		time.Sleep(refusedPause)
		synctest.Wait()
		again := 0
		for _, w := range x.heard() {
			if w == "announce whole" {
				again++
			}
		}
		if again != 2 {
			t.Errorf("announced %d times, want twice: %q", again, x.heard())
		}
	})
}

func TestRequestsMayBePipelined(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		startTracker(t, tr, addrB, func(req *wire.Request, _ int) *wire.Reply {
			return &wire.Reply{Stamp: req.GetStamp()}
		})
		c, err := Dial(t.Context(), dialer{tr}, addrB, g.o.Self)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var wg sync.WaitGroup
		for i := range uint64(200) {
			wg.Go(func() {
				reply, err := c.Do(t.Context(), &wire.Request{Stamp: i + 1}, nil)
				if err != nil || reply.GetStamp() != i+1 {
					t.Errorf("request %d got %v, %v", i+1, reply, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestTrackersThatAReplyNamesAreUsedWhenItsOwnAreGone(t *testing.T) {
	const addrC, addrD = "127.0.0.1:1003", "127.0.0.1:1004"
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		var kept []string
		g.o.Keep = func(learned []string) error { kept = learned; return nil }
		told := []string{addrB, addrC, "no address", addrC}
		a := startTracker(t, tr, addrA, func(*wire.Request, int) *wire.Reply { return &wire.Reply{Trackers: told} })
		c := startTracker(t, tr, addrC, func(*wire.Request, int) *wire.Reply { return &wire.Reply{Trackers: []string{addrA, addrD}} })
		g.run()
		g.Put(id, content, true, false)
		expect(t, a, "leave", "announce whole")
		expect(t, c)
		if !slices.Equal(kept, []string{addrC}) {
			t.Errorf("kept %q, want only what is new and an address", kept)
		}
		a.kill()
		expect(t, c, "announce whole")
		if !slices.Equal(kept, []string{addrC, addrD}) {
			t.Errorf("kept %q after a second tracker told of a third", kept)
		}
	})
}

func TestTrackersLearnedEarlierAreTriedAfterItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(Options{Trackers: []string{addrA, addrB}, Learned: []string{addrB, "127.0.0.1:1003"}})
		defer g.Stop()
		if got := g.trackers(); !slices.Equal(got, []string{addrA, addrB, "127.0.0.1:1003"}) {
			t.Errorf("tried in the order %q", got)
		}
		if got := g.trackers(); !slices.Equal(got, []string{addrB, "127.0.0.1:1003", addrA}) {
			t.Errorf("then in the order %q", got)
		}
	})
}

func TestAStrangersTrackerCannotNameTrackersWithoutEnd(t *testing.T) {
	g := NewGroup(Options{Trackers: []string{addrA}})
	defer g.Stop()
	for i := range 1000 {
		if err := g.keepTrackers([]string{fmt.Sprintf("10.0.0.1:%d", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(g.trackers()); n != 1+maxLearned {
		t.Errorf("%d trackers kept", n)
	}
}

// Another node holds the client's address by its key, until its lease ends. The
// session is of use all the same, and is not opened again and again.
func TestAnAddressThatAnotherNodeHoldsIsSaidSoAndAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		var held atomic.Bool
		held.Store(true)
		x := startTracker(t, tr, addrA, func(*wire.Request, int) *wire.Reply {
			if held.Load() {
				return &wire.Reply{Error: wire.Error_ERROR_FOREIGN_KEY, Message: "held"}
			}
			return nil
		})
		g.run()
		g.Put(id, content, true, false)
		var coded *wire.CodeError
		if err := g.Announced(t.Context(), id); !errors.As(err, &coded) || coded.Code != wire.Error_ERROR_FOREIGN_KEY {
			t.Errorf("announced: %v", err)
		}
		expect(t, x, "leave", "announce whole")
		held.Store(false)
		time.Sleep(refusedPause) //nolint:forbidigo // virtual time
		synctest.Wait()
		// A renewal is due at the same moment: either may be first.
		got := slices.Sorted(slices.Values(x.heard()))
		if want := []string{"announce whole", "announce whole", "leave", "renew 0"}; !slices.Equal(got, want) {
			t.Errorf("the tracker heard %q, want %q in some order", got, want)
		}
	})
}
