package tracker

import (
	"context"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// expire ends the rows of clients that have gone silent, until ctx ends. A
// client goes within an eighth of a lease after its lease has ended.
func (t *Tracker) expire(ctx context.Context) {
	tick := time.NewTicker(t.opts.Lease / 8)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, a := range t.reg.Silent(t.opts.Lease) {
			if ctx.Err() != nil {
				return
			}
			t.expireClient(a)
		}
	}
}

func (t *Tracker) expireClient(a registry.Addr) {
	gone := make(chan int, 1)
	t.reg.Expire(a, t.opts.Lease, func(res registry.Result, err error) {
		if err != nil {
			res.Rows = 0 // the registry tells of its failure itself
		}
		gone <- res.Rows
	})
	if n := <-gone; n > 0 {
		t.log.Info("client expired", "client", a, "torrents", n)
	}
}
