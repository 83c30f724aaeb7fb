package main

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/metrics"
	"github.com/mtor-dev/mtor/roles/client"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/torrent"
	"github.com/mtor-dev/mtor/roles/tracker"
)

// watchTracker has a tracker counted that is yet to be made; role is where it
// will be found, and k who knocks there.
func (m *monitor) watchTracker(c config.Tracker, role *atomic.Pointer[tracker.Tracker], k *knocks) tracker.Observer {
	if !m.on() {
		return tracker.Observer{}
	}
	metrics.RegisterDisks(m.Registry, metrics.Folder{Of: "seederlist", Path: filepath.Dir(c.SeederlistFile)})
	t := metrics.NewTracker(m.Registry, c.Peers, func() (g metrics.TrackerGauges) {
		t := role.Load()
		if t == nil {
			return g
		}
		now := t.Gauges()
		g.Rows, g.Torrents, g.Sessions = now.Rows, now.Torrents, now.Sessions
		for _, p := range now.Peers {
			g.Peers = append(g.Peers, metrics.PeerGauges(p))
		}
		return g
	})
	k.count = t.Refused
	return tracker.Observer{
		SyncLag: t.SyncLag, Answered: t.Answered, Committed: t.Committed, Repaired: t.Repaired,
		CaughtUp: func(peer string, entries int, _ time.Duration) { t.CaughtUp(peer, entries) },
	}
}

// trackerHealth is degraded while the tracker is out of touch with another: it
// serves, and takes over what it missed when that one is back.
func trackerHealth(t *tracker.Tracker) func() metrics.Health {
	return func() (h metrics.Health) {
		for _, peer := range t.Alone() {
			h.Degraded = append(h.Degraded, "not in step with tracker "+peer)
		}
		return h
	}
}

// watchClient has a client counted that is yet to be made; role is where it will
// be found, and k who knocks there.
func (m *monitor) watchClient(folders []metrics.Folder, role *atomic.Pointer[client.Client], k *knocks) client.Observer {
	if !m.on() {
		return client.Observer{}
	}
	metrics.RegisterDisks(m.Registry, folders...)
	c := metrics.NewClient(m.Registry, func() (g metrics.ClientGauges) {
		c := role.Load()
		if c == nil {
			return g
		}
		now := c.Gauges()
		g = metrics.ClientGauges{
			Sessions: now.Sessions, Streams: now.Streams, Downloads: map[string]int{"queued": now.Queued},
			Wanted: now.Wanted, Trackers: now.Groups, Reached: now.Reached,
		}
		for state, n := range now.Downloads {
			g.Downloads[string(state)] = n
		}
		return g
	})
	k.count = c.Refused
	return client.Observer{
		Torrents: torrent.Observer{
			Received: c.PieceReceived, Sent: c.PieceSent, Ended: c.PieceEnded, Banned: c.Banned,
		},
		Chose: c.Chose, FellBack: c.FellBack,
	}
}

// clientHealth is degraded while files are yet to be checked, or no tracker
// answers: what is there is served.
func clientHealth(c *client.Client) func() metrics.Health {
	return func() (h metrics.Health) {
		now := c.Gauges()
		if n := now.Downloads[control.Checking]; n > 0 {
			h.Degraded = append(h.Degraded, fmt.Sprintf("%d torrents are yet to be checked", n))
		}
		if now.Reached < now.Groups {
			h.Degraded = append(h.Degraded, fmt.Sprintf("no tracker answers, for %d of %d sets of trackers", now.Groups-now.Reached, now.Groups))
		}
		return h
	}
}

// clientFolders are the folders of a client whose disks are watched.
func clientFolders(state string, c config.Client) []metrics.Folder {
	list := []metrics.Folder{{Of: "state", Path: state}}
	if c.WatchTo != "" {
		list = append(list, metrics.Folder{Of: "downloads", Path: c.WatchTo})
	}
	return list
}
