package client

import (
	"context"
	"fmt"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

const (
	// goalEvery is how often it is looked at whether a torrent has been seeded
	// enough.
	goalEvery = time.Second
	// goalSave is how often it is recorded how far that is. A client that is
	// killed forgets less than this.
	goalSave = time.Minute
)

// SeedUntil implements control.API. What was sent counts since the torrent was
// added, the time from now on, or since it is whole.
func (c *Client) SeedUntil(_ context.Context, name string, goal control.SeedGoal) (control.Download, error) {
	fail := func(err error) (control.Download, error) {
		return control.Download{}, fmt.Errorf("seed until: %w", err)
	}
	if err := goal.Check(); err != nil {
		return fail(err)
	}
	it, err := c.find(name)
	if err != nil {
		return fail(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := it.entry
	e.SeedRatio, e.SeedTime, e.Seeded = goal.Ratio, time.Duration(goal.Seconds*float64(time.Second)), 0
	if err := c.lib.Update(e); err != nil {
		return fail(err)
	}
	it.entry = e
	return it.download(), nil
}

// goal is when the item is to be paused; nil for never. Client.mu is held.
func (it *item) goal() *control.SeedGoal {
	if it.entry.SeedRatio == 0 && it.entry.SeedTime == 0 {
		return nil
	}
	return &control.SeedGoal{Ratio: it.entry.SeedRatio, Seconds: it.entry.SeedTime.Seconds()}
}

// seededEnough reports whether its goal is reached, once it is whole. Client.mu
// is held.
func (it *item) seededEnough() bool {
	e := &it.entry
	return e.Whole && (e.SeedRatio > 0 && float64(it.sentAll()) >= e.SeedRatio*float64(it.size) ||
		e.SeedTime > 0 && e.Seeded >= e.SeedTime)
}

// keepGoals pauses torrents that have been seeded enough.
func (c *Client) keepGoals() {
	tick := time.NewTicker(goalEvery)
	defer tick.Stop()
	last, saved := time.Now(), time.Now()
	for {
		select {
		case now := <-tick.C:
			for _, it := range c.seeded(now.Sub(last)) {
				c.wg.Go(func() {
					if err := c.pause(c.ctx, it); err != nil && c.ctx.Err() == nil {
						c.log.Error("seeded enough, but not paused", "name", it.name, "error", err)
					}
				})
			}
			last = now
			if now.Sub(saved) >= goalSave {
				saved = now
				c.saveGoals()
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// seeded counts time towards the goals, and returns what has reached its own.
func (c *Client) seeded(passed time.Duration) (enough []*item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		if it.goal() == nil || it.run == nil || it.entry.Paused {
			continue
		}
		if st := it.run.Progress(); !st.Whole || st.Err != nil || !it.settled {
			continue
		}
		it.entry.Seeded += passed
		if it.seededEnough() {
			enough = append(enough, it)
		}
	}
	return enough
}

// saveGoals records how far the goals are.
func (c *Client) saveGoals() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		if it.goal() == nil || it.run == nil {
			continue
		}
		it.entry.Sent = it.sentAll()
		if err := c.lib.Update(it.entry); err != nil {
			c.log.Error("not recorded how long it was seeded", "name", it.name, "error", err)
			return
		}
	}
}
