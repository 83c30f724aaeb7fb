package announce

import (
	"context"
	"crypto/sha1"
	"errors"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// do sends one request of this client and keeps the stamp of the reply.
func (g *Group) do(ctx context.Context, c *Conn, req *wire.Request, hashes []byte) (*wire.Reply, error) {
	req.Addr = g.o.Addr.String()
	req.Stamp = g.o.Stamps.Stamp()
	guard := func() error { return nil }
	if req.GetLeave() == nil {
		guard = func() error { return g.stays(req.GetAnnounce() != nil) }
	}
	reply, err := c.do(ctx, req, hashes, guard)
	if err == nil && reply.GetStamp() != 0 {
		err = g.o.Stamps.SetStamp(reply.GetStamp())
	}
	if told := reply.GetTrackers(); err == nil && len(told) > 0 {
		err = g.keepTrackers(told[:min(len(told), wire.MaxTrackers)])
	}
	return reply, err
}

// errLeft is the end of a request that was due before the client left.
var errLeft = wire.Errorf(wire.Error_ERROR_CANCELLED, "the client leaves")

// stays is nil until the client leaves. It is asked when a request's turn has
// come, so that none follows the leave, and that the leave knows of each that may
// have listed the client: the reply may be lost.
func (g *Group) stays(lists bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left {
		return errLeft
	}
	g.told = g.told || lists
	return nil
}

// keepTrackers takes over trackers that a reply names.
func (g *Group) keepTrackers(told []string) error {
	g.mu.Lock()
	more := g.learn(told)
	g.mu.Unlock()
	if more == nil || g.o.Keep == nil {
		return nil
	}
	return g.o.Keep(more)
}

// fatal is err unless a tracker merely refused the request.
func fatal(err error) error {
	var refused *wire.CodeError
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

func (g *Group) announce(ctx context.Context, c *Conn, id torrentfmt.ID) error {
	g.mu.Lock()
	l := g.listings[id]
	if l == nil {
		g.mu.Unlock()
		return nil
	}
	whole, t := l.whole, l.torrent
	msg := &wire.Announce{TorrentId: id[:], Whole: whole}
	if l.hungry {
		msg.Want = wire.MaxWant
	}
	g.mu.Unlock()

	req := &wire.Request{Kind: &wire.Request_Announce{Announce: msg}}
	reply, err := g.do(ctx, c, req, nil)
	if reply.GetError() == wire.Error_ERROR_NEED_HASHES {
		identity := t.Identity()
		msg.Filename, msg.Filesize, msg.HashLength = t.Name, uint64(t.Size), uint64(len(identity))
		reply, err = g.do(ctx, c, req, identity)
	}
	if errors.Is(err, errLeft) {
		return nil
	}
	if fatal(err) != nil {
		return err
	}

	g.mu.Lock()
	if l = g.listings[id]; l == nil {
		g.mu.Unlock()
		return nil
	}
	l.err = err
	if err != nil {
		g.o.Log.Error("the tracker refuses an announcement", "name", t.Name, "error", err)
	} else {
		l.dirty, l.at = l.whole != whole, time.Time{}
		g.keepLease(reply)
	}
	l.answer(err)
	l.askAt = time.Now().Add(l.ask)
	g.mu.Unlock()
	if err == nil {
		return g.found(id, reply)
	}
	return nil
}

func (g *Group) askPeers(ctx context.Context, c *Conn, id torrentfmt.ID) error {
	reply, err := g.do(ctx, c, &wire.Request{Kind: &wire.Request_SeederList{
		SeederList: &wire.SeederList{TorrentId: id[:], Want: wire.MaxWant},
	}}, nil)
	if err != nil {
		return fatal(err)
	}
	return g.found(id, reply)
}

func (g *Group) found(id torrentfmt.ID, reply *wire.Reply) error {
	seeders, err := reply.GetSeeders().Unpack()
	if err != nil {
		return err
	}
	if len(seeders) > 0 {
		g.o.Found(id, seeders)
	}
	return nil
}

func (g *Group) remove(ctx context.Context, c *Conn, id torrentfmt.ID) error {
	_, err := g.do(ctx, c, &wire.Request{Kind: &wire.Request_Remove{
		Remove: &wire.Remove{TorrentId: id[:]},
	}}, nil)
	var refused *wire.CodeError
	if errors.As(err, &refused) && refused.Code == wire.Error_ERROR_NOT_FOUND {
		err = nil // it was not listed: as good as removed
	}
	if err == nil {
		g.mu.Lock()
		delete(g.gone, id)
		g.mu.Unlock()
	}
	return err
}

func (g *Group) leave(ctx context.Context, c *Conn) error {
	_, err := g.do(ctx, c, &wire.Request{Kind: &wire.Request_Leave{Leave: &wire.Leave{}}}, nil)
	return err
}

// renew keeps all entries for another lease. When the tracker knows something
// else, everything is announced again; when that did not help, the tracker is
// told to forget what it knows first.
func (g *Group) renew(ctx context.Context, c *Conn) error {
	g.mu.Lock()
	var sum [sha1.Size]byte
	n := 0
	for id, l := range g.listings {
		if !l.dirty {
			digest(&sum, id, l.whole)
			n++
		}
	}
	again := g.mismatch
	g.mu.Unlock()

	reply, err := g.do(ctx, c, &wire.Request{Kind: &wire.Request_Renew{
		Renew: &wire.Renew{Torrents: uint32(n), Digest: sum[:]},
	}}, nil)
	if fatal(err) != nil {
		return err
	}
	mismatch := reply.GetError() == wire.Error_ERROR_NEED_LIST
	if mismatch && again {
		if err := g.leave(ctx, c); fatal(err) != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mismatch = mismatch
	if err == nil {
		g.keepLease(reply)
	}
	if mismatch {
		for _, l := range g.listings {
			l.dirty, l.at = true, time.Time{}
		}
		g.poke()
	}
	return nil
}

// keepLease takes over the tracker's lease; g.mu is held.
func (g *Group) keepLease(reply *wire.Reply) {
	if s := reply.GetLeaseSeconds(); s > 0 {
		g.lease = time.Duration(s) * time.Second
		if soon := time.Now().Add(g.lease / 4); g.renewAt.After(soon) {
			g.renewAt = soon
		}
	}
}

// digest adds one torrent to the digest of a renewal.
func digest(sum *[sha1.Size]byte, id torrentfmt.ID, whole bool) {
	var b [sha1.Size + 1]byte
	copy(b[:], id[:])
	if whole {
		b[sha1.Size] = 1
	}
	for i, x := range sha1.Sum(b[:]) {
		sum[i] ^= x
	}
}
