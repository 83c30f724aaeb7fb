package announce

import (
	"context"
	"errors"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// Counted is how many peers a tracker lists for a torrent.
type Counted struct {
	Listed int // in all
	Whole  int // of these, those that have every piece
}

// errNoCount is what Count says of a tracker of an older mtor with many peers.
var errNoCount = errors.New("the tracker does not say how many of its seeders are whole: it is of an older mtor")

// Count asks how many peers are listed for a torrent; a torrent that the tracker
// does not know has none. Nobody is listed by that.
func (c *Conn) Count(ctx context.Context, id torrentfmt.ID) (Counted, error) {
	reply, err := c.Do(ctx, &wire.Request{Kind: &wire.Request_SeederList{
		SeederList: &wire.SeederList{TorrentId: id[:], Want: wire.MaxWant, CountWhole: true},
	}}, nil)
	if err != nil {
		return Counted{}, err
	}
	set := reply.GetSeeders()
	n := Counted{Listed: int(set.GetTotal())}
	if set != nil && set.Whole != nil {
		n.Whole = int(set.GetWhole())
		return n, nil
	}
	sample, err := set.Unpack()
	if err != nil {
		return Counted{}, err
	}
	if len(sample) < n.Listed {
		return n, errNoCount
	}
	for _, s := range sample {
		if s.Whole {
			n.Whole++
		}
	}
	return n, nil
}
