package netpath

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mbit = 1_000_000

func newLine(p Path) *line { return &line{Path: p, dice: rand.New(rand.NewPCG(3, 4))} }

func TestPacketOnAnIdleLineTakesItsLengthAndHalfARoundTrip(t *testing.T) {
	l := newLine(Path{Rate: 8 * mbit, RTT: 40 * time.Millisecond})
	for _, now := range []time.Duration{0, time.Second, time.Minute} {
		at, err := l.take(now, 1000) // a byte a microsecond
		if want := now + time.Millisecond + 20*time.Millisecond; err != nil || at != want {
			t.Errorf("sent at %s, came at %s, %v; want %s", now, at, err, want)
		}
	}
}

func TestLineCarriesItsRateInOrderAndNoMore(t *testing.T) {
	p := Path{Rate: 100 * mbit, RTT: 30 * time.Millisecond, Queue: 50_000}
	l := newLine(p)
	dice := rand.New(rand.NewPCG(1, 2))
	var now, last time.Duration
	carried := 0
	for now < 10*time.Second {
		now += time.Duration(dice.IntN(60)) * time.Microsecond // twice what the line carries
		n := 40 + dice.IntN(mtu-40)
		at, err := l.take(now, n)
		if err != nil {
			continue
		}
		carried += n
		if at < last {
			t.Fatalf("at %s, after one at %s", at, last)
		}
		if waits := at - now - p.RTT/2 - p.takes(n); waits < 0 || waits > p.takes(int(p.Queue)) {
			t.Fatalf("waited %s", waits)
		}
		last = at
	}
	took := (last - p.RTT/2).Seconds()
	if rate := float64(carried) * 8 / took; math.Abs(rate/float64(p.Rate)-1) > 0.01 {
		t.Errorf("%.0f bit/s of %d", rate, p.Rate)
	}
}

func TestQueueTakesWhatFitsAndHasRoomAgainWhenTheLineHasSent(t *testing.T) {
	l := newLine(Path{Rate: 8 * mbit, Queue: 10_000})
	for i := range 12 {
		_, err := l.take(0, 1000)
		if dropped := errors.Is(err, errDropped); dropped != (i >= 10) {
			t.Errorf("packet %d: %v", i, err)
		}
	}
	if _, err := l.take(999*time.Microsecond, 1000); !errors.Is(err, errDropped) {
		t.Errorf("before the first has left: %v", err)
	}
	if _, err := l.take(time.Millisecond, 1000); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
}

func TestQueueIsARoundTripOfTheRateUnlessItIsNamed(t *testing.T) {
	for _, c := range []struct {
		p    Path
		want int64
	}{
		{Path{Rate: 100 * mbit, RTT: 40 * time.Millisecond}, 500_000},
		{Path{Rate: mbit, RTT: 40 * time.Millisecond}, MinQueue},
		{Path{Rate: 100 * mbit, RTT: 40 * time.Millisecond, Queue: 3000}, 3000},
	} {
		if got := c.p.Room(); got != c.want {
			t.Errorf("%+v: %d bytes, want %d", c.p, got, c.want)
		}
	}
}

func TestLossIsAsOftenAsAskedAndLeavesNoGapOnTheLine(t *testing.T) {
	const packets = 1_000_000
	for _, loss := range []float64{0, 0.001, 0.01, 0.2} {
		l := newLine(Path{Rate: MaxRate, Loss: loss, Queue: MaxHeld})
		lost := 0
		for range packets {
			if _, err := l.take(0, 100); errors.Is(err, errLost) {
				lost++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		// Five standard deviations: the dice fall alike in every run.
		if far := 5 * math.Sqrt(packets*loss*(1-loss)); math.Abs(float64(lost)-packets*loss) > far {
			t.Errorf("loss %v: %d of %d", loss, lost, packets)
		}
		if want := packets * l.takes(100); l.busy != want {
			t.Errorf("loss %v: the line was busy for %s, not %s", loss, l.busy, want)
		}
	}
}

func TestPathsOutOfBoundsAreRefused(t *testing.T) {
	good := Path{Rate: 1000 * mbit, RTT: 40 * time.Millisecond, Loss: 0.01, Queue: 1 << 20}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Path){
		"no rate":         func(p *Path) { p.Rate = 0 },
		"too fast":        func(p *Path) { p.Rate = MaxRate + 1 },
		"back in time":    func(p *Path) { p.RTT = -1 },
		"too far":         func(p *Path) { p.RTT = MaxRTT + 1 },
		"all lost":        func(p *Path) { p.Loss = 1 },
		"less than none":  func(p *Path) { p.Loss = -0.1 },
		"no number":       func(p *Path) { p.Loss = math.NaN() },
		"negative queue":  func(p *Path) { p.Queue = -1 },
		"endless queue":   func(p *Path) { p.Queue = math.MaxInt64 },
		"too much to own": func(p *Path) { p.Rate, p.RTT = MaxRate, time.Second },
	} {
		p := good
		if change(&p); p.Check() == nil {
			t.Errorf("%s: %+v was accepted", what, p)
		}
	}
}

// device keeps the packets that are written to it, with the time.
type device struct {
	began time.Time
	mu    sync.Mutex
	at    []time.Duration
	sizes []int
}

func (d *device) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Since(d.began))
	d.sizes = append(d.sizes, len(p))
	return len(p), nil
}

func TestRelayDeliversEachPacketWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		in, out := io.Pipe()
		to := &device{began: began}
		w := newWay(Path{Rate: 8 * mbit, RTT: 20 * time.Millisecond, Queue: 5000}, in, to, rand.New(rand.NewPCG(1, 1)))
		var tasks sync.WaitGroup
		tasks.Go(func() { w.take(began) })
		tasks.Go(func() { w.deliver(began) })
		for range 7 { // five find room
			_, _ = out.Write(make([]byte, 1000))
		}
		synctest.Wait()
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		w.set(Path{Rate: 8 * mbit, RTT: 100 * time.Millisecond})
		_, _ = out.Write(make([]byte, 500))
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		out.Close()
		tasks.Wait()
		ms := time.Millisecond
		want := []time.Duration{11 * ms, 12 * ms, 13 * ms, 14 * ms, 15 * ms, time.Second + 50*ms + ms/2}
		if len(to.at) != len(want) || to.sizes[len(want)-1] != 500 {
			t.Fatalf("came: %v of sizes %v", to.at, to.sizes)
		}
		for i := range want {
			if to.at[i] != want[i] {
				t.Errorf("packet %d came at %s, not at %s", i, to.at[i], want[i])
			}
		}
		if w.stats != (Stats{Carried: 6, Dropped: 2}) {
			t.Errorf("%+v", w.stats)
		}
	})
}

func TestRelayThatIsStoppedHoldsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		in, out := io.Pipe()
		to := &device{began: began}
		w := newWay(Path{Rate: mbit, RTT: 10 * time.Second}, in, to, rand.New(rand.NewPCG(1, 1)))
		var tasks sync.WaitGroup
		tasks.Go(func() { w.take(began) })
		tasks.Go(func() { w.deliver(began) })
		for range 10 {
			_, _ = out.Write(make([]byte, 1000))
		}
		out.Close()
		close(w.stop)
		tasks.Wait()
		if len(to.at) != 10 || time.Since(began) > 0 {
			t.Errorf("%d came, after %s", len(to.at), time.Since(began))
		}
	})
}
