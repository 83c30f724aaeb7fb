package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// lag writes new rows at a fixed pace and meanwhile changes one row again and
// again, and asks the other tracker for it until it shows the change.
func (x *trackerBench) lag(ctx context.Context) error {
	x.say("sync lag ...")
	ctx, cancel := context.WithTimeout(ctx, x.Duration+stallTimeout)
	defer cancel()
	p, err := newProbe(ctx, x)
	if err != nil {
		return err
	}
	defer p.close()
	probing, stop := context.WithTimeout(ctx, x.Duration)
	defer stop()
	seen := make(chan error, 1)
	go func() { seen <- p.run(probing, ctx) }()
	var syncs []float64
	synced := make(chan error, 1)
	go func() {
		if x.a == nil {
			synced <- nil // the files may lie anywhere
			return
		}
		var err error
		syncs, err = x.diskMeanwhile(probing)
		synced <- err
	}()
	rate := float64(lagRate) / float64(x.Sessions)
	n, took, err := all(ctx, x.sessions, func(i int) feed {
		return x.sessions[i].paced(share(i, x.Sessions, x.Torrents, 1+x.rowsEach(), x.Sessions), hotTorrents, rate, x.Duration)
	})
	if err = errors.Join(err, <-seen, <-synced); err != nil {
		return fmt.Errorf("sync lag: %w", err)
	}
	x.listed += n + 1
	x.add(Figure{Name: "new rows while lag is measured", Value: float64(n) / took.Seconds(), Unit: "rows/s"})
	x.add(Figure{Name: "sync lag, half of changes", Value: percentile(p.lags, 50), Unit: "ms"})
	x.add(Figure{Name: "sync lag, 99 of 100 changes", Value: percentile(p.lags, 99), Unit: "ms", Target: wantLag, Below: true})
	x.add(Figure{Name: "  changes looked for", Value: float64(len(p.lags)), Unit: "changes"})
	if x.a == nil {
		return nil
	}
	half, most := percentile(syncs, 50), percentile(syncs, 99)
	x.add(Figure{Name: "  the disk meanwhile, a sync of 64 KiB, half", Value: half, Unit: "ms"})
	x.add(Figure{Name: "  the disk meanwhile, 99 of 100", Value: most, Unit: "ms"})
	x.add(Figure{Name: "  sync lag to a sync, half", Value: percentile(p.lags, 50) / max(half, leastSync), Unit: "times"})
	x.add(Figure{Name: "  sync lag to a sync, 99 of 100", Value: percentile(p.lags, 99) / max(most, leastSync), Unit: "times"})
	return nil
}

// leastSync is what a sync in memory counts, in milliseconds, so that there is a
// ratio to it.
const leastSync = 0.001

// probe is a client whose row is changed at one tracker and looked for at the
// other.
type probe struct {
	here, there *announce.Conn
	torrent     int
	lags        []float64 // milliseconds, from the answer here to the sight there
}

func newProbe(ctx context.Context, x *trackerBench) (*probe, error) {
	self := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), Agent: "mtor bench"}
	p := &probe{torrent: hotTorrents + x.Torrents}
	var err error
	if p.here, err = announce.Dial(ctx, x.table, x.Connect, self); err != nil {
		return nil, err
	}
	if p.there, err = announce.Dial(ctx, x.table, x.Peer, self); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *probe) close() {
	for _, c := range []*announce.Conn{p.here, p.there} {
		if c != nil {
			c.Close()
		}
	}
}

// lookEvery is the grain of what a probe sees.
const lookEvery = 500 * time.Microsecond

// run probes until probing ends.
func (p *probe) run(probing, ctx context.Context) error {
	h := hashes(p.torrent)
	id := torrentfmt.HashID(h)
	a := &wire.Announce{TorrentId: id[:], Filename: "probe", Filesize: 1, HashLength: uint64(len(h))}
	for whole := false; probing.Err() == nil; whole = !whole {
		a.Whole = whole
		_, err := p.here.Do(ctx, &wire.Request{Kind: &wire.Request_Announce{Announce: a}, Addr: "0.0.0.0:65535"}, h)
		if err != nil {
			return err
		}
		began := time.Now()
		for shown := false; !shown; {
			reply, err := p.there.Do(ctx, &wire.Request{Kind: &wire.Request_SeederList{
				SeederList: &wire.SeederList{TorrentId: id[:], Want: 1},
			}}, nil)
			if err != nil {
				return err
			}
			list, err := reply.GetSeeders().Unpack()
			if err != nil {
				return err
			}
			if shown = len(list) == 1 && list[0].Whole == whole; shown {
				break
			}
			select {
			case <-time.After(lookEvery):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		p.lags = append(p.lags, float64(time.Since(began).Microseconds())/1000)
	}
	return nil
}
