package tracker

import (
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
)

const (
	// hashRate is the slowest that a hash string may come, in bytes a second.
	hashRate = 64 << 10
	// budgetWait is how long a hash string waits for memory.
	budgetWait = 10 * time.Second
)

// errEnd is the end of a stream between two requests.
var errEnd = io.EOF

func refused(c wire.Error, msg string) *slot {
	s := new(slot)
	s.refuse(c, msg)
	return s
}

func badRequest(msg string) *slot { return refused(wire.Error_ERROR_BAD_REQUEST, msg) }

// handle starts on one request. An error ends the session: the stream is out
// of step, or broken.
func (q *requests) handle(req *wire.Request) (*slot, error) {
	echo := registry.Stamp(req.GetStamp())
	if k, ok := req.GetKind().(*wire.Request_Announce); ok {
		return q.announce(req.GetAddr(), k.Announce, echo)
	}
	if k, ok := req.GetKind().(*wire.Request_SeederList); ok {
		return q.list(req.GetAddr(), k.SeederList), nil
	}
	if k, ok := req.GetKind().(*wire.Request_Probe); ok {
		return q.probe(req.GetAddr(), k.Probe), nil
	}
	addr, refusal := q.address(req.GetAddr())
	if refusal != nil {
		return refusal, nil
	}
	by := registry.Asker{Addr: addr, Node: q.owner}
	switch k := req.GetKind().(type) {
	case *wire.Request_Remove:
		id, err := torrentfmt.IDFromBytes(k.Remove.GetTorrentId())
		if err != nil {
			return badRequest(err.Error()), nil
		}
		s, done := q.change(func(s *slot) {
			if s.result.Rows > 0 {
				q.t.log.Info("client removed", "client", addr, "torrent", id)
			}
		})
		q.t.reg.Remove(by, id, echo, done)
		return s, nil
	case *wire.Request_Leave:
		s, done := q.change(func(s *slot) {
			if s.result.Rows > 0 {
				q.t.log.Info("client left", "client", addr, "torrents", s.result.Rows)
			}
		})
		q.t.reg.Leave(by, echo, done)
		return s, nil
	case *wire.Request_Renew:
		if len(k.Renew.GetDigest()) != sha1.Size {
			return badRequest("the digest must have 20 bytes"), nil
		}
		s, done := q.change(func(s *slot) { s.reply.LeaseSeconds = q.leaseSeconds() })
		q.t.reg.Renew(by, int(k.Renew.GetTorrents()), [sha1.Size]byte(k.Renew.GetDigest()), echo, done)
		return s, nil
	}
	return badRequest("a request of no known kind"), nil
}

func (q *requests) leaseSeconds() uint32 { return uint32(q.t.opts.Lease / time.Second) }

// address is where the client says that it is reached, if it may say so.
func (q *requests) address(s string) (registry.Addr, *slot) {
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
		return registry.Addr{}, badRequest("the client's address must be ip:port")
	}
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = q.source
	}
	if ip != q.source && !q.trusted() {
		return registry.Addr{}, refused(wire.Error_ERROR_FOREIGN_ADDRESS,
			"announced "+ip.String()+", but the connection comes from "+q.source.String()+
				", which is not among the networks that may (trust_announced)")
	}
	addr := registry.AddrOf(netip.AddrPortFrom(ip, a.Port()))
	if addr != q.last && !q.speaksFor(addr) {
		return registry.Addr{}, refused(wire.Error_ERROR_TOO_MANY, "too many addresses in one session")
	}
	q.last = addr
	return addr, nil
}

// trusted reports whether the session comes from a network whose clients may
// announce any address.
func (s *session) trusted() bool {
	return slices.ContainsFunc(s.t.opts.TrustAnnounced, func(p netip.Prefix) bool { return p.Contains(s.source) })
}

// speaksFor reports whether the session's client may be addr, besides those
// that it said before.
func (s *session) speaksFor(addr registry.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named == nil {
		s.named = map[registry.Addr]bool{}
	}
	if !s.named[addr] && len(s.named) >= maxAddresses {
		return false
	}
	s.named[addr] = true
	return true
}

// list waits for nothing: what it shows is durable, and the asker's own changes
// on their way do not touch others' rows.
func (q *requests) list(from string, l *wire.SeederList) *slot {
	id, err := torrentfmt.IDFromBytes(l.GetTorrentId())
	if err != nil {
		return badRequest(err.Error())
	}
	var asker registry.Addr // without an address nobody is left out
	if from != "" {
		var refusal *slot
		if asker, refusal = q.address(from); refusal != nil {
			return refusal
		}
	}
	return &slot{ready: closed, then: func(s *slot) {
		q.fill(s, id, asker, l.GetWant())
		if l.GetCountWhole() {
			whole := uint32(q.t.reg.Whole(id, asker))
			s.reply.Seeders.Whole = &whole
		}
	}}
}

// fill puts a sample of peers into the reply. It is the answering goroutine's.
func (q *requests) fill(s *slot, id torrentfmt.ID, asker registry.Addr, want uint32) {
	list, total := q.t.reg.Seeders(q.sample[:0], id, asker, int(min(want, wire.MaxWant)))
	q.sample, q.pack = list, q.pack[:0]
	for _, p := range list {
		q.pack = append(q.pack, wire.Seeder{Addr: p.Addr, Whole: p.Whole, Node: p.Node})
	}
	s.reply.Seeders = wire.PackSeeders(q.pack)
	s.reply.Seeders.Total = uint32(total)
}

func (q *requests) announce(from string, a *wire.Announce, echo registry.Stamp) (*slot, error) {
	n := a.GetHashLength()
	if n > maxHashes {
		return nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "hash string of %d bytes: at most %d", n, maxHashes)
	}
	if n > 0 {
		// Whatever comes of the request, its hash string must be read.
		d := messageTimeout + time.Duration(n/hashRate)*time.Second
		if err := q.st.SetDeadline(time.Now().Add(budgetWait + d)); err != nil {
			return nil, err
		}
	}
	ann := registry.Announcement{Whole: a.GetWhole(), Echo: echo}
	refusal := q.check(&ann, from, a)
	// The hash string of an empty file is empty.
	brings := a.GetFilename() != "" && (n > 0 || a.GetFilesize() == 0)
	if refusal == nil && !brings && q.changing.Load() == 0 {
		if res, ok := q.t.reg.Refresh(&ann); ok {
			return q.unchanged(res, q.announced(&ann, a)), nil
		}
	}
	held := int64(0)
	if refusal == nil && brings {
		if _, known := q.t.reg.Known(ann.Torrent); !known {
			var err error
			if refusal, held, err = q.hashes(&ann, a); err != nil {
				return nil, err
			}
			n = 0
		}
	}
	if _, err := q.in.Discard(int(n)); err != nil {
		return nil, malformed(late(err))
	}
	if refusal != nil {
		return refusal, nil
	}
	s, done := q.change(q.announced(&ann, a))
	q.t.reg.Announce(ann, func(res registry.Result, err error) {
		q.t.clients.Release(held)
		done(res, err)
	})
	return s, nil
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (q *requests) check(ann *registry.Announcement, from string, a *wire.Announce) (refusal *slot) {
	var err error
	if ann.Torrent, err = torrentfmt.IDFromBytes(a.GetTorrentId()); err != nil {
		return badRequest(err.Error())
	}
	ann.Node = q.owner
	ann.Addr, refusal = q.address(from)
	return refusal
}

func (q *requests) announced(ann *registry.Announcement, a *wire.Announce) func(*slot) {
	id, addr, want := ann.Torrent, ann.Addr, a.GetWant()
	return func(s *slot) {
		s.reply.LeaseSeconds = q.leaseSeconds()
		if s.result.Listed {
			q.t.log.Info("client announced", "client", addr, "torrent", id, "whole", a.GetWhole())
		}
		q.fill(s, id, addr, want)
	}
}

// hashes reads and checks the hash string of an unknown torrent. It always
// takes all of it from the stream.
func (q *requests) hashes(ann *registry.Announcement, a *wire.Announce) (refusal *slot, held int64, err error) {
	n := int(a.GetHashLength())
	list := int64(n) - int64(torrentfmt.NumPieces(int64(a.GetFilesize())))*torrentfmt.HashSize
	switch err := torrentfmt.CheckName(a.GetFilename()); {
	case err != nil:
		refusal = badRequest(err.Error())
	case a.GetFilesize() > torrentfmt.MaxPieces*torrentfmt.PieceSize, list < 0, list > torrentfmt.MaxListLen:
		refusal = badRequest("filesize and length of the hash string do not match")
	case !q.t.bring.take(sourceOf(q.source), int64(n)+torrentCost, time.Now()):
		refusal = refused(wire.Error_ERROR_TOO_MANY, "too many new torrents at once: announce the rest later")
	default:
		wait, cancel := context.WithTimeout(q.ctx, budgetWait)
		defer cancel()
		if q.t.clients.Acquire(wait, int64(n)) != nil {
			refusal = refused(wire.Error_ERROR_TOO_MANY, "too many large torrents at once: try again")
		}
	}
	if refusal != nil {
		_, err := q.in.Discard(n)
		return refusal, 0, malformed(late(err))
	}
	b := make([]byte, n)
	if _, err = io.ReadFull(q.in, b); err == nil && torrentfmt.HashID(b) != ann.Torrent {
		refusal = badRequest("the hash string is not that of the torrent ID")
	}
	if err == nil && refusal == nil && list > 0 {
		if wrong := torrentfmt.CheckList(b[n-int(list):], int64(a.GetFilesize())); wrong != nil {
			refusal = badRequest("filesize and length of the hash string do not match, or what follows it is no list of files: " + wrong.Error())
		}
	}
	if err != nil || refusal != nil {
		q.t.clients.Release(int64(n))
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return refusal, 0, malformed(late(err))
	}
	ann.Info = &registry.Info{Name: a.GetFilename(), Size: int64(a.GetFilesize()), List: int(list)}
	ann.Hashes = b
	return nil, int64(n), nil
}
