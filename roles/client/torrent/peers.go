package torrent

import (
	"cmp"
	"context"
	"slices"

	"github.com/mtor-dev/mtor/roles/client/peer"
)

// PeerStatus is one peer of a torrent, for people.
type PeerStatus struct {
	Conn     *peer.Conn
	Has      int     // pieces at its side
	Received int     // pieces that came from it
	Asked    int     // pieces that it was asked for and are not here yet
	DownRate float64 // bytes a second
	UpRate   float64 // bytes a second
}

// Peers lists the peers, those that most came from first; none once Run has
// ended. It needs Run, and fails when ctx ends before.
func (t *Torrent) Peers(ctx context.Context) ([]PeerStatus, error) {
	answer := make(chan []PeerStatus, 1)
	select {
	case t.events <- listed{answer}:
	case <-t.ended:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case list := <-answer:
		return list, nil
	case <-t.ended:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listed asks for the peers.
type listed struct{ answer chan<- []PeerStatus }

func (e listed) apply(s *swarm) {
	list := make([]PeerStatus, 0, len(s.sources))
	for _, src := range s.sources {
		list = append(list, PeerStatus{
			Conn: src.link.Conn(), Has: s.Pieces() - src.lacks, Received: src.pieces,
			Asked: len(src.asked), DownRate: src.rate, UpRate: src.upRate,
		})
	}
	slices.SortFunc(list, func(a, b PeerStatus) int {
		return cmp.Or(cmp.Compare(b.Received, a.Received), cmp.Compare(b.Has, a.Has), a.Conn.Addr.Compare(b.Conn.Addr))
	})
	e.answer <- list
}
