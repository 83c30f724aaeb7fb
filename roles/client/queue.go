package client

import (
	"slices"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// full reports whether as many downloads run as may: those that wait for room do
// not, even if there may be more than that when they go on. c.mu is held.
func (c *Client) full() bool {
	if c.o.MaxDownloads == 0 {
		return false
	}
	n := 0
	for _, it := range c.running {
		if stateOf(it.run, it.run.Progress(), false, false) == control.Downloading {
			n++
		}
	}
	return n >= c.o.MaxDownloads
}

// launchNext launches the downloads that wait, in their order, for as long as
// there is room.
func (c *Client) launchNext() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		if c.ctx.Err() != nil || c.full() {
			return
		}
		if it.queued {
			c.launch(it)
		}
	}
}

// closeQueued saves and closes what was never launched, once nothing runs.
func (c *Client) closeQueued() {
	c.mu.Lock()
	queued := slices.DeleteFunc(slices.Clone(c.items), func(it *item) bool { return !it.queued })
	c.mu.Unlock()
	for _, it := range queued {
		it.save()
		it.end()
	}
}
