package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// agree waits until both trackers list exactly the given nodes, each with the
// whole file, and returns their names.
func (d *demo) agree(whole context.Context, want ...*node) (string, error) {
	ctx, cancel := context.WithTimeout(whole, agreeTimeout)
	defer cancel()
	t, err := torrentfmt.Open(filepath.Join(d.folder, mtorrent))
	if err != nil {
		return "", err
	}
	var names, addrs []string
	for _, n := range want {
		names, addrs = append(names, n.name), append(addrs, n.addr+" whole")
	}
	slices.Sort(addrs)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		said := make([]string, len(d.trackers))
		same := true
		for i, tracker := range d.trackers {
			listed, err := seeders(ctx, tracker.addr, t.ID())
			said[i] = fmt.Sprintf("%s lists %q", tracker.name, listed)
			if err != nil {
				said[i] = fmt.Sprintf("%s: %v", tracker.name, err)
			}
			same = same && err == nil && slices.Equal(listed, addrs)
		}
		if same {
			return strings.Join(names, ", "), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := whole.Err(); err != nil {
				return "", err // interrupted, which says nothing of the lists
			}
			return "", fmt.Errorf("the trackers' lists are not %q within %s: %s", addrs, agreeTimeout, strings.Join(said, "; "))
		}
	}
}

// seeders asks one tracker over the network who is listed for a torrent:
// "127.0.0.1:7001 whole", sorted.
func seeders(ctx context.Context, tracker string, id torrentfmt.ID) ([]string, error) {
	self := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), Agent: "mtor demo"}
	_, _ = rand.Read(self.NodeId) // never fails
	listed, _, err := announce.List(ctx, transport.Table{tcp.New(tcp.Options{})}, tracker, self, id)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(listed, func(a, b wire.Seeder) int { return cmp.Compare(a.Addr.String(), b.Addr.String()) })
	var lines []string
	for _, s := range listed {
		line := s.Addr.String()
		if s.Whole {
			line += " whole"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines, nil
}
