package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// whole is how seeders lists a client that has every piece.
func whole(clients ...*client) []string {
	list := make([]string, len(clients))
	for i, c := range clients {
		list[i] = c.addr + " whole"
	}
	slices.Sort(list)
	return list
}

// seeders asks one tracker who is listed: "127.3.7.10:4242 whole" or
// "... part", sorted.
func seeders(ctx context.Context, tracker string, id torrentfmt.ID) ([]string, error) {
	return seedersOver(ctx, transport.Table{tcp.New(tcp.Options{})}, tracker, id)
}

func seedersOver(ctx context.Context, table transport.Table, tracker string, id torrentfmt.ID) ([]string, error) {
	self := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), Agent: "e2e"}
	_, _ = rand.Read(self.NodeId)
	listed, total, err := announce.List(ctx, table, tracker, self, id)
	if err != nil {
		return nil, err
	}
	if total != len(listed) {
		return nil, fmt.Errorf("tracker %s lists %d and says that there are %d", tracker, len(listed), total)
	}
	lines := make([]string, len(listed))
	for i, s := range listed {
		lines[i] = s.Addr.String() + " part"
		if s.Whole {
			lines[i] = s.Addr.String() + " whole"
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// lists waits until each of the given trackers lists exactly want.
func (s *swarm) lists(trackers []*tracker, id torrentfmt.ID, want []string) {
	s.Helper()
	table := s.table
	if table == nil {
		table = transport.Table{tcp.New(tcp.Options{})}
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, t := range trackers {
		var last []string // of the last time that it answered
		for {
			got, err := seedersOver(ctx, table, t.addr, id)
			if err == nil && slices.Equal(got, want) {
				break
			}
			if err == nil {
				last = got
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				s.Fatalf("%s lists %q (%v): want %q", t.name, last, err, want)
			}
		}
	}
}

// bothList is allList where there are two.
func (s *swarm) bothList(id torrentfmt.ID, want ...string) {
	s.Helper()
	s.allList(id, want...)
}

// allList waits until every tracker lists exactly want.
func (s *swarm) allList(id torrentfmt.ID, want ...string) {
	s.Helper()
	s.lists(s.trackers, id, want)
}
