package pace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const piece = 512 << 10

// upload is a swarm of peers that take pieces for as long as ctx lasts, each
// with so many requests at once.
type upload struct {
	sent sync.Map // peer -> *atomic.Int64
	wg   sync.WaitGroup
}

func (u *upload) of(peer string) *atomic.Int64 {
	n, _ := u.sent.LoadOrStore(peer, new(atomic.Int64))
	return n.(*atomic.Int64)
}

func (u *upload) total() (sum int64) {
	u.sent.Range(func(_, n any) bool { sum += n.(*atomic.Int64).Load(); return true })
	return sum
}

func (u *upload) take(ctx context.Context, peer string, requests int, gates ...*Gate) {
	count := u.of(peer)
	for range requests {
		u.wg.Go(func() {
			for ctx.Err() == nil {
				p, err := Enter(ctx, peer, gates...)
				if err != nil {
					return
				}
				for at := int64(0); at < piece && err == nil; {
					var n int64
					n, err = p.Move(ctx, func() (int64, error) {
						n := min(p.Step(), piece-at)
						count.Add(n)
						return n, nil
					})
					at += n
				}
				p.Leave()
			}
		})
	}
}

// during runs f in virtual time, with a context that ends after d.
func during(t *testing.T, d time.Duration, f func(ctx context.Context, u *upload)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		u := new(upload)
		f(ctx, u)
		<-ctx.Done()
		u.wg.Wait()
	})
}

func within(t *testing.T, what string, got, want int64, percent int64) {
	t.Helper()
	if off := got - want; off*100 > want*percent || off*100 < -want*percent {
		t.Errorf("%s: %d bytes, want %d within %d %%", what, got, want, percent)
	}
}

func TestALimitHoldsWithinAFewPercentAtEveryRate(t *testing.T) {
	for _, limit := range []int64{4 << 10, 50_000, 100_000, 1 << 20, 20_000_000, 1 << 30} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			const seconds = 10
			during(t, seconds*time.Second, func(ctx context.Context, u *upload) {
				g := NewGate(limit)
				for i := range 8 {
					u.take(ctx, fmt.Sprint("peer", i), 24, g)
				}
				<-ctx.Done()
				within(t, "10 s", u.total(), seconds*limit, 4)
			})
		})
	}
}

func TestAFreeGateHoldsNothingUpUntilItHasALimit(t *testing.T) {
	during(t, 20*time.Second, func(ctx context.Context, u *upload) {
		g := NewFreeGate(0)
		var passes []*Pass
		for range 3 * maxTurns { // all of one peer
			p, err := Enter(ctx, "a", g)
			if err != nil {
				t.Fatal(err)
			}
			if n := p.Step(); n < 1<<30 {
				t.Fatalf("without a limit %d bytes go at once", n)
			}
			passes = append(passes, p)
		}
		for _, p := range passes {
			p.Leave()
		}
		g.SetLimit(1 << 20)
		u.take(ctx, "a", 24, g)
		u.take(ctx, "b", 24, g)
		<-ctx.Done()
		within(t, "20 s", u.total(), 20<<20, 4)
	})
}

func TestALimitFollowsItsChangesWhilePiecesAreOnTheirWay(t *testing.T) {
	during(t, 15*time.Second, func(ctx context.Context, u *upload) {
		g := NewGate(0)
		g.SetLimit(1 << 20)
		u.take(ctx, "a", 10, g)
		u.take(ctx, "b", 10, g)
		for _, limit := range []int64{1 << 20, 8 << 20, 200_000} {
			g.SetLimit(limit)
			time.Sleep(500 * time.Millisecond) //nolint:forbidigo // virtual time
			before := u.total()
			time.Sleep(4 * time.Second) //nolint:forbidigo // virtual time
			within(t, fmt.Sprint("at ", limit), u.total()-before, 4*limit, 5)
		}
	})
}

func TestAPeerWithManyRequestsGetsNoMoreThanOneWithFew(t *testing.T) {
	for _, limit := range []int64{60_000, 1 << 20, 20_000_000} {
		during(t, 100*time.Second, func(ctx context.Context, u *upload) {
			g := NewGate(limit)
			u.take(ctx, "greedy", 128, g)
			for _, peer := range []string{"a", "b", "c"} {
				u.take(ctx, peer, 4, g)
			}
			<-ctx.Done()
			slack := int64(4 * piece)
			for _, peer := range []string{"greedy", "a", "b", "c"} {
				if got, want := u.of(peer).Load(), 25*limit; got > want+slack || got < want-slack {
					t.Errorf("%d B/s: %s got %d bytes, want %d", limit, peer, got, want)
				}
			}
		})
	}
}

func TestAPeerThatTakesNothingCostsNobodyHisTurn(t *testing.T) {
	during(t, 10*time.Second, func(ctx context.Context, u *upload) {
		g := NewGate(60_000) // one turn
		for i := range 20 {
			u.wg.Go(func() {
				p, err := Enter(ctx, fmt.Sprint("stuck", i), g)
				if err != nil {
					return
				}
				defer p.Leave()
				_, _ = p.Move(ctx, func() (int64, error) { <-ctx.Done(); return 0, ctx.Err() })
			})
		}
		synctest.Wait()
		u.take(ctx, "honest", 4, g)
		<-ctx.Done()
		// The twenty keep the one turn for lendAfter each.
		if got, want := u.of("honest").Load(), int64(5*60_000); got < want {
			t.Errorf("it got %d bytes, want %d at least", got, want)
		}
	})
}

func TestATorrentWithALowLimitDoesNotSlowOthersDown(t *testing.T) {
	during(t, 10*time.Second, func(ctx context.Context, u *upload) {
		all := NewGate(10_000_000)
		for i := range 40 {
			slow := NewGate(10_000)
			for j := range 4 {
				u.take(ctx, fmt.Sprint("slow", i, " ", j), 4, slow, all)
			}
		}
		synctest.Wait()
		u.take(ctx, "fast", 8, NewGate(0), all)
		<-ctx.Done()
		within(t, "all", u.total(), 10*10_000_000, 3)
		within(t, "the limited torrents", u.total()-u.of("fast").Load(), 10*40*10_000, 10)
	})
}

func TestATurnThatIsNotWaitedForLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(60_000)
		first, err := Enter(t.Context(), "a", g)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Enter(ctx, "b", g); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the end of the patience", err)
		}
		first.Leave()
		if g.taken != 0 || len(g.members["b"].queue) != 0 {
			t.Errorf("%d turns taken, %d waiting", g.taken, len(g.members["b"].queue))
		}
		second, err := Enter(t.Context(), "c", g)
		if err != nil {
			t.Fatal(err)
		}
		second.Leave()
	})
}

func TestTheMemoryOfPeersIsBounded(t *testing.T) {
	g := NewGate(0)
	for i := range 3 * maxMembers {
		p, err := Enter(t.Context(), i, g)
		if err != nil {
			t.Fatal(err)
		}
		p.Leave()
	}
	if len(g.members) > maxMembers {
		t.Errorf("%d peers remembered, want at most %d", len(g.members), maxMembers)
	}
}

func TestWhatFailsGivesItsTurnBack(t *testing.T) {
	g := NewGate(1 << 20)
	broken := errors.New("broken")
	for range 100 {
		p, err := Enter(t.Context(), "a", g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Move(t.Context(), func() (int64, error) { return 0, broken }); !errors.Is(err, broken) {
			t.Fatalf("got %v", err)
		}
		p.Leave()
	}
	if g.taken != 0 {
		t.Errorf("%d turns are taken", g.taken)
	}
}

// A peer whose session ends gives up all its turns at once, and each that leaves
// the line lets in another that is about to leave it.
func TestAPeerThatVanishesWithALongLineIsServedWhenItComesBack(t *testing.T) {
	g := NewGate(0)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 * maxBegun {
			wg.Go(func() {
				if p, err := Enter(ctx, "a", g); err == nil {
					<-ctx.Done()
					p.Leave()
				}
			})
		}
		first, err := Enter(t.Context(), "b", g)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		wg.Wait()
		first.Leave()
		if m := g.members["a"]; g.taken != 0 || m != nil && (m.begun != 0 || m.taken != 0 || len(m.queue) != 0) {
			t.Fatalf("%d turns are taken, the peer's record is %+v", g.taken, m)
		}
	}
}

func TestAPeerThatTakesNothingHoldsAFewPieces(t *testing.T) {
	during(t, time.Minute, func(ctx context.Context, u *upload) {
		g := NewGate(0)
		var standing atomic.Int64
		for range 8 * maxBegun {
			u.wg.Go(func() {
				p, err := Enter(ctx, "mute", g)
				if err != nil {
					return
				}
				defer p.Leave()
				standing.Add(1)
				_, _ = p.Move(ctx, func() (int64, error) { <-ctx.Done(); return 0, ctx.Err() })
			})
		}
		time.Sleep(30 * time.Second) //nolint:forbidigo // virtual time
		if n := standing.Load(); n != maxBegun {
			t.Errorf("%d pieces stand still, want %d", n, maxBegun)
		}
		if p, err := Enter(ctx, "other", g); err != nil {
			t.Errorf("another peer: %v", err)
		} else {
			p.Leave()
		}
	})
}
