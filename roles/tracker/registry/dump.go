package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/roles/boltfile"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// Listing is one torrent of a seederlist file.
type Listing struct {
	Torrent torrentfmt.ID
	Info    Info // zero if the torrent's name has not arrived yet
	Seeders []ListedSeeder
}

// ListedSeeder is one listed client of a torrent.
type ListedSeeder struct {
	Seeder
	Since time.Time // when the row was last written, by the clock of its tracker
	Home  NodeID    // the tracker that the client speaks to
}

// Contents sums up a seederlist file.
type Contents struct {
	Node   NodeID
	Vector Vector
	Stats
}

// Dump reads the seederlist file of a stopped tracker and changes nothing. It
// passes each torrent that is known to visit, in the order of torrent IDs, with
// its seeders in the order of addresses. The errors are those of [Open], and
// visit's, which ends it; a file that does not exist is fs.ErrNotExist.
func Dump(path string, visit func(Listing) error) (Contents, error) {
	c, node, err := loadReadOnly(path)
	if err != nil {
		return Contents{}, fmt.Errorf("seederlist file %s: %w", path, err)
	}
	sum := Contents{Node: node, Vector: c.vector(), Stats: c.stats()}
	order := make([]*torrent, len(c.torrents))
	for i := range c.torrents {
		order[i] = &c.torrents[i]
	}
	slices.SortFunc(order, func(a, b *torrent) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, tor := range order {
		if err := visit(c.listing(tor)); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (c *core) listing(tor *torrent) Listing {
	l := Listing{Torrent: tor.id}
	if tor.info != nil {
		l.Info = tor.info.told()
	}
	for _, r := range tor.rows[:tor.present] {
		cl := &c.clients[r.client]
		s := ListedSeeder{Seeder: cl.seeder(r), Since: r.stamp.Time()}
		if cl.home.seq != 0 {
			s.Home = c.nodes[cl.home.node]
		}
		l.Seeders = append(l.Seeders, s)
	}
	slices.SortFunc(l.Seeders, func(a, b ListedSeeder) int { return a.Addr.Compare(b.Addr) })
	return l
}

// errNothing is Dump's answer about a file that is there with nothing in it.
var errNothing = errors.New("nothing is in it: no tracker has started on it yet")

func loadReadOnly(path string) (*core, NodeID, error) {
	empty, err := boltfile.Check(path)
	if err != nil {
		return nil, NodeID{}, refused(err)
	}
	if empty {
		if _, err := os.Stat(path); err == nil {
			return nil, NodeID{}, errNothing
		}
		return nil, NodeID{}, fs.ErrNotExist
	}
	s := &store{path: path}
	if s.db, err = openBolt(path, true); err != nil {
		return nil, NodeID{}, err
	}
	defer func() { _ = s.db.Close() }() // only read
	if err := boltfile.CheckPages(path); err != nil {
		return nil, NodeID{}, refused(err)
	}
	if err := guarded(s.check); errors.Is(err, errEmpty) {
		return nil, NodeID{}, errNothing
	} else if err != nil {
		return nil, NodeID{}, err
	}
	var self Origin
	copy(self[:], s.node[:])
	c := newCore(self)
	return c, s.node, s.load(c)
}
