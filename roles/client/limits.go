package client

import (
	"context"
	"fmt"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/pace"
)

// SetLimits implements control.API.
func (c *Client) SetLimits(_ context.Context, torrent string, change control.LimitChange) (control.Limits, error) {
	up, down, name := c.uploads, c.downloads, ""
	if torrent != "" {
		it, err := c.find(torrent)
		if err != nil {
			return control.Limits{}, fmt.Errorf("limit: %w", err)
		}
		up, down, name = it.uploads, it.downloads, c.describe(it).Name
	}
	set(up, change.Up)
	set(down, change.Down)
	l := control.Limits{Name: name, Up: up.Limit(), Down: down.Limit()}
	if change.Up != nil || change.Down != nil {
		c.log.Info("limits set", "name", name, "upload_limit", l.Up, "download_limit", l.Down)
	}
	return l, nil
}

// SetBounds changes Options.MaxPeers and MaxDownloads. Sessions and downloads
// beyond a lower bound go on; new ones wait until there are fewer.
func (c *Client) SetBounds(maxPeers, maxDownloads int) {
	c.peers.setMax(maxPeers)
	c.mu.Lock()
	c.o.MaxDownloads = maxDownloads
	c.mu.Unlock()
	c.launchNext()
}

func set(g *pace.Gate, limit *int64) {
	if limit != nil {
		g.SetLimit(*limit)
	}
}
