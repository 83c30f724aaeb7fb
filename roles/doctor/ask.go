package doctor

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/address"
)

// asked is what came of asking one tracker over one transport.
type asked struct {
	scheme string
	err    error         // why it could not be reached; what follows is empty then
	took   time.Duration // for one question and its answer
	// ahead is how far its clock is before this machine's, to half of took.
	ahead time.Duration
	// probed is nil if the tracker is too old to be asked.
	probed *wire.Probed
}

// reached is one tracker.
type reached struct {
	addr string  // as configured
	host string  // of it
	over []asked // a transport each, in the order of the table
}

// best is the quickest answer of a tracker; nil if there is none.
func (r *reached) best() *asked {
	var best *asked
	for i := range r.over {
		if a := &r.over[i]; a.probed != nil && (best == nil || a.took < best.took) {
			best = a
		}
	}
	return best
}

// ways looks at everything that takes the network.
func (e *examination) ways(ctx context.Context, d *door) []Line {
	var lines []Line
	if d.err != nil && !d.inUse() {
		lines = append(lines, e.unbound(d))
		if errors.Is(d.err, syscall.EADDRNOTAVAIL) { // nothing can be dialled from there either
			return lines
		}
	}
	trackers := e.askAll(ctx, d, e.Trackers)
	for i := range trackers {
		lines = append(lines, e.judgeReach(&trackers[i])...)
	}
	together := trackers
	if e.Role == "tracker" && d.inUse() { // it runs, and counts among those that agree
		together = append(e.askAll(ctx, d, []string{d.addr.String()}), trackers...)
	}
	lines = append(lines, e.agree(ctx, d, together))
	lines = append(lines, e.judgeClocks(trackers)...)
	return append(lines, e.wayBack(ctx, d, trackers)...)
}

// askAll asks trackers over each transport, all at once.
func (e *examination) askAll(ctx context.Context, d *door, addrs []string) []reached {
	out := make([]reached, len(addrs))
	var asks sync.WaitGroup
	for i, addr := range addrs {
		out[i].addr = addr
		a, err := address.Parse(addr)
		if err != nil { // the settings were checked
			continue
		}
		out[i].host = a.Host
		out[i].over = make([]asked, len(e.Carriers))
		for j, row := range e.Carriers {
			asks.Go(func() { out[i].over[j] = ask(ctx, row, a.HostPort(), d, false) })
		}
	}
	asks.Wait()
	return out
}

// ask dials a tracker over one transport and has it tell how it is.
func ask(ctx context.Context, row transport.Transport, hostPort string, d *door, dialBack bool) asked {
	a := asked{scheme: row.Scheme}
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := announce.Dial(dial, transport.Table{row}, hostPort, d.hello())
	if err != nil {
		a.err = err
		return a
	}
	defer c.Close()
	begun := time.Now()
	reply, err := c.Do(ctx, &wire.Request{
		Kind: &wire.Request_Probe{Probe: &wire.Probe{DialBack: dialBack}}, Addr: d.addr.String(),
	}, nil)
	a.took = time.Since(begun)
	if reply.GetError() == wire.Error_ERROR_BAD_REQUEST {
		return a // as one answers that knows no such question
	}
	if a.err = err; err != nil {
		return a
	}
	a.probed = reply.GetProbed()
	there := time.UnixMilli(a.probed.GetClockMs())
	a.ahead = there.Sub(begun.Add(a.took / 2).Round(0))
	return a
}

// agree asks until the trackers agree, a few times.
func (e *examination) agree(ctx context.Context, d *door, trackers []reached) Line {
	first := answers(trackers)
	now := first
	for again := 0; again < lookAgain && compare(now) == apart; again++ {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		addrs := make([]string, len(trackers))
		for i := range trackers {
			addrs[i] = trackers[i].addr
		}
		now = answers(e.askAll(ctx, d, addrs))
	}
	return e.judgeAgreement(trackers, first, now)
}

// answer is what one tracker said of itself.
type answer struct {
	addr, host string
	*wire.Probed
}

func answers(trackers []reached) []answer {
	var out []answer
	for i := range trackers {
		if b := trackers[i].best(); b != nil {
			out = append(out, answer{trackers[i].addr, trackers[i].host, b.probed})
		}
	}
	return out
}

// wayBack has each tracker that can be reached dial the role's own port.
func (e *examination) wayBack(ctx context.Context, d *door, trackers []reached) []Line {
	if d.err != nil && !d.inUse() {
		return nil
	}
	back := make([]answer, len(trackers))
	var asks sync.WaitGroup
	for i := range trackers {
		b := trackers[i].best()
		if b == nil {
			continue
		}
		row, err := e.Carriers.Only(b.scheme)
		a, errAddr := address.Parse(trackers[i].addr)
		if err != nil || errAddr != nil { // both were used before
			continue
		}
		asks.Go(func() {
			r := ask(ctx, row[0], a.HostPort(), d, true)
			back[i] = answer{trackers[i].addr, trackers[i].host, r.probed}
		})
	}
	asks.Wait()
	return e.judgeBack(d, back)
}
