package tracker

import (
	"context"
	"slices"
	"sync"
)

// SetPeers changes the other trackers to keep in step with, at any time. Those
// that are new are dialled, those that are gone no longer; sessions of trackers
// that pull from this one end, and who is still configured is back within a
// moment. One that is gone for good is to be forgotten besides, since what is
// kept for it is kept until then. Clients are told at their next reply.
func (t *Tracker) SetPeers(addrs []string) error {
	was := t.peers.Load()
	if slices.Equal(was.addrs, addrs) {
		return nil
	}
	next, err := newPeers(addrs)
	if err != nil {
		return err
	}
	t.peers.Store(next)
	t.reg.Collect(len(addrs))
	was.replace()
	select {
	case t.repeered <- struct{}{}:
	default: // the last change has not been looked at yet, so this one will be
	}
	return nil
}

// followAll pulls from each of the other trackers until ctx ends.
func (t *Tracker) followAll(ctx context.Context) {
	var loops sync.WaitGroup
	defer loops.Wait()
	following := map[string]context.CancelFunc{}
	defer func() {
		for _, stop := range following {
			stop()
		}
	}()
	for {
		want := t.peers.Load().addrs
		for addr, stop := range following {
			if !slices.Contains(want, addr) {
				t.log.Info("peer tracker is no longer followed", "peer", addr)
				stop()
				delete(following, addr)
			}
		}
		for _, addr := range want {
			if following[addr] != nil {
				continue
			}
			one, stop := context.WithCancel(ctx)
			following[addr] = stop
			loops.Go(func() { t.follow(one, addr) })
		}
		select {
		case <-t.repeered:
		case <-ctx.Done():
			return
		}
	}
}
