package tracker

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// dialBackTimeout bounds a dial for a self-check with its hello: less than
	// a client waits for a reply.
	dialBackTimeout = 3 * time.Second
	// maxLinks bounds the trackers that one answer tells of: several times
	// those that can be configured.
	maxLinks = 64
)

// probe answers a self-check. What it costs is bounded by source, and for the
// dials in all; the address that is dialled is the asker's own.
func (q *requests) probe(addr string, p *wire.Probe) *slot {
	if !q.t.probes.take(sourceOf(q.source), 1, time.Now()) {
		return refused(wire.Error_ERROR_TOO_MANY, "too many self-checks: ask again in a minute")
	}
	s := &slot{reply: wire.Reply{Probed: q.t.probed()}, ready: make(chan struct{})}
	out := s.reply.GetProbed()
	out.Source = q.source.String()
	own, refusal := q.address(addr)
	if refusal != nil {
		out.Refused = refusal.reply.GetMessage()
	}
	to := own.AddrPort()
	if refusal != nil || !p.GetDialBack() || to.Addr() != q.source {
		close(s.ready)
		return s
	}
	q.dials.Go(func() {
		defer close(s.ready)
		out.Dialled = q.t.dialBack(q.ctx, to)
	})
	return s
}

// probed is what a tracker tells of itself to everybody.
func (t *Tracker) probed() *wire.Probed {
	stats, sum := t.reg.Stats(), t.reg.Summary()
	list := sha1.New()
	for _, b := range sum.Buckets {
		_, _ = list.Write(binary.BigEndian.AppendUint64(nil, b)) // never fails
	}
	node := t.reg.NodeID()
	out := &wire.Probed{
		NodeId: node[:], ClockMs: time.Now().UnixMilli(),
		Vector: sum.Vector[:], List: list.Sum(nil),
		Torrents: uint64(stats.Torrents), Listed: uint64(stats.Listed),
	}
	members := t.members()
	shown := map[registry.NodeID]bool{}
	for _, addr := range t.peers.Load().addrs {
		x := &wire.ProbedLink{Addr: addr}
		if l, known := t.links.to(addr); known {
			x.NodeId, x.Connected = l.node[:], l.open
			shown[l.node] = true
			for _, m := range members {
				if m.Node == l.node {
					x.Following, x.Behind = m.Connected, m.Behind
				}
			}
		}
		out.Links = append(out.Links, x)
	}
	for _, m := range members {
		if !shown[m.Node] && len(out.Links) < maxLinks {
			out.Links = append(out.Links, &wire.ProbedLink{NodeId: m.Node[:], Following: m.Connected, Behind: m.Behind})
		}
	}
	return out
}

// dialBack tells what answers at an address over each transport that this
// tracker speaks.
func (t *Tracker) dialBack(ctx context.Context, to netip.AddrPort) []*wire.DialledBack {
	out := make([]*wire.DialledBack, len(t.opts.Listen))
	var dials sync.WaitGroup
	for i, row := range t.opts.Listen {
		x := &wire.DialledBack{Scheme: row.Scheme}
		out[i] = x
		select {
		case t.dialBacks <- struct{}{}:
		default:
			x.Error = "too many others are checked at this moment: ask again"
			continue
		}
		dials.Go(func() {
			defer func() { <-t.dialBacks }()
			id, err := t.hail(ctx, row, to)
			if err != nil {
				x.Error = inWords(err).Error()
				return
			}
			x.NodeId = id
		})
	}
	dials.Wait()
	return out
}

// hail exchanges hellos with whoever listens at an address, as a client does:
// every node answers one. A client that is dialled over two transports at once may
// end either of them as a duplicate: it is there, and its ID is left out.
func (t *Tracker) hail(ctx context.Context, row transport.Transport, to netip.AddrPort) (node []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialBackTimeout)
	defer cancel()
	sess, err := row.Dial(ctx, to.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = sess.Close() }() // it was only asked for
	stop := context.AfterFunc(ctx, func() { _ = sess.Close() })
	defer stop()
	hello := t.hello()
	hello.Role = wire.Role_ROLE_CLIENT
	h, err := exchangeHellos(ctx, sess, hello)
	var over *transport.SessionError
	if errors.As(err, &over) && over.Remote && over.Code == code(wire.Error_ERROR_DUPLICATE) {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("it was reached, and said nothing within %v", dialBackTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("it was reached, and does not answer as mtor does: %w", err)
	}
	return h.GetNodeId(), nil
}
