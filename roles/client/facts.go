package client

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// Peers implements control.API.
func (c *Client) Peers(ctx context.Context, name string) ([]control.Peer, error) {
	it, err := c.find(name)
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	c.mu.Lock()
	run := it.run
	if it.stop == nil || it.queued {
		run = nil // its loop has not begun
	}
	c.mu.Unlock()
	list := []control.Peer{}
	if run == nil {
		return list, nil
	}
	peers, err := run.Peers(ctx)
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	for _, p := range peers {
		list = append(list, control.Peer{
			Addr: p.Conn.Addr.String(), Transport: p.Conn.Scheme(), Node: fmt.Sprintf("%x", p.Conn.ID[:]), Dialled: p.Conn.Dialed(),
			Pieces: p.Has, Of: run.Pieces(), Received: p.Received, Asked: p.Asked, DownRate: p.DownRate, UpRate: p.UpRate,
		})
	}
	return list, nil
}

// Status implements control.API.
func (c *Client) Status(context.Context) (control.Status, error) {
	s := control.Status{
		Addr: c.addr.String(), Listed: c.listed.String(), StateDir: c.o.StateDir,
		PID: os.Getpid(), Version: c.o.Version, Started: c.started, Sessions: len(c.peers.connected()),
		Torrents: map[control.State]int{}, Trackers: []control.TrackerSet{},
		Limits: control.Limits{Up: c.uploads.Limit(), Down: c.downloads.Limit()},
	}
	for _, state := range control.States {
		s.Torrents[state] = 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		d := it.download()
		s.Torrents[d.State]++
		s.DownRate += d.DownRate
		s.UpRate += d.UpRate
	}
	for _, key := range slices.Sorted(maps.Keys(c.groups)) {
		group := c.groups[key]
		s.Trackers = append(s.Trackers, control.TrackerSet{
			Addrs: strings.Fields(key), Reachable: group.Reachable(), Answered: group.Answered(),
		})
	}
	return s, nil
}
