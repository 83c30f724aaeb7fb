package tracker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// maxPipelined bounds the requests of one stream that are not answered
	// yet; beyond it the client waits.
	maxPipelined = 256
	// messageTimeout bounds the time from the first byte of a request to its
	// last, without its hash string.
	messageTimeout = 10 * time.Second
	// flushAt is how many bytes of replies go out in one write.
	flushAt = 32 << 10
)

// requests serves one stream of requests: this goroutine reads and decides,
// another answers in the same order.
type requests struct {
	*session
	ctx context.Context
	st  transport.Stream
	in  *wire.Reader
	// changing counts the changes that are on their way to the disk. While
	// there are any, no answer may be taken from what is already durable.
	changing atomic.Int32
	dials    sync.WaitGroup // for self-checks, under way
	last     registry.Addr  // the client that the last request was of
	// told is what this stream's client has heard of the other trackers; the
	// answering goroutine's.
	told *peers
	// sample and pack are room for peers, for one reply after the other; also
	// its own.
	sample []registry.Seeder
	pack   []wire.Seeder
}

// slot is the place of one answer in the order of the answers.
type slot struct {
	reply wire.Reply
	kind  string        // of request, as an Observer hears it
	begun time.Time     // when the request had come
	ready chan struct{} // closed when the registry has answered; nil: no need to wait
	// Set by the registry:
	result registry.Result
	err    error
	// then completes the reply, if set and all went well.
	then func(*slot)
}

func (s *session) requests(ctx context.Context, st transport.Stream, in *wire.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	q := &requests{session: s, ctx: ctx, st: st, in: in}
	slots := make(chan *slot, maxPipelined)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		if err := q.answer(slots); err != nil {
			cancel(late(err))
			st.Abort(code(wire.Error_ERROR_CANCELLED)) // wakes the reader
		}
	}()
	err := q.read(slots)
	close(slots)
	<-writing
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	q.dials.Wait()
	return err
}

// read takes requests until the stream ends.
func (q *requests) read(slots chan<- *slot) error {
	var extended time.Time
	for {
		idle := q.in.Buffered() == 0
		if idle {
			if err := q.st.SetDeadline(time.Now().Add(q.idle())); err != nil {
				return err
			}
			if _, err := q.in.Peek(1); err != nil {
				return late(err)
			}
		}
		if now := time.Now(); idle || now.Sub(extended) > messageTimeout/10 {
			if err := q.st.SetDeadline(now.Add(messageTimeout)); err != nil {
				return err
			}
			extended = now
		}
		req := new(wire.Request)
		if err := q.in.Next(req, wire.MaxMessage); err != nil {
			return malformed(late(err))
		}
		begun := time.Now()
		s, err := q.handle(req)
		if err != nil {
			return err
		}
		s.kind, s.begun = kindOf(req), begun
		select {
		case slots <- s:
		case <-q.ctx.Done():
			return context.Cause(q.ctx)
		}
	}
}

// malformed gives a code to what could not be decoded.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	var abort *transport.AbortError
	var over *transport.SessionError
	var coded *wire.CodeError
	switch {
	case errors.As(err, &abort), errors.As(err, &over), errors.As(err, &coded), errors.Is(err, errEnd):
		return err
	}
	return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "request: %v", err)
}

// answer writes replies in order, as many at a time as are ready.
func (q *requests) answer(slots <-chan *slot) error {
	var buf []byte
	flush := func() error {
		if len(buf) == 0 {
			return nil
		}
		_, err := q.st.Write(buf)
		buf = buf[:0]
		return err
	}
	for s := range slots {
		if s.ready != nil {
			select {
			case <-s.ready:
			default:
				if err := flush(); err != nil {
					return err
				}
				<-s.ready // the registry answers everything
			}
		}
		q.complete(s)
		q.t.answered(s)
		var err error
		if buf, err = wire.Append(buf, &s.reply); err != nil {
			return err
		}
		if len(buf) >= flushAt || len(slots) == 0 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// complete turns what the registry said into the reply.
func (q *requests) complete(s *slot) {
	if s.ready == nil {
		return
	}
	s.reply.Stamp = uint64(s.result.Stamp)
	switch {
	case s.err != nil:
		s.refuse(wire.Error_ERROR_INTERNAL, "the tracker cannot write its seederlist file")
	case s.result.Outcome == registry.NeedHashes:
		s.refuse(wire.Error_ERROR_NEED_HASHES, "the torrent is unknown here: send filename, filesize and hash string")
	case s.result.Outcome == registry.NeedList:
		s.refuse(wire.Error_ERROR_NEED_LIST, "the tracker lists other torrents of this client: announce each")
	case s.result.Outcome == registry.TooMany:
		s.refuse(wire.Error_ERROR_TOO_MANY, fmt.Sprintf("too many torrents: at most %d of one client, and %d of all clients of one host", registry.MaxTorrents, registry.MaxHostRows))
	case s.result.Outcome == registry.Owned:
		s.refuse(wire.Error_ERROR_FOREIGN_KEY, "the address is listed here by another key, which alone may change that until its lease has ended")
	case s.then != nil:
		s.then(s)
		q.tellTrackers(&s.reply)
	}
}

// tellTrackers names the other trackers to a client that is listed here, once
// and when they have changed.
func (q *requests) tellTrackers(r *wire.Reply) {
	if others := q.t.peers.Load(); q.told != others && r.GetLeaseSeconds() > 0 {
		q.told = others
		r.Trackers = others.addrs
	}
}

func (s *slot) refuse(c wire.Error, msg string) {
	s.reply.Error, s.reply.Message = c, msg
}

// change makes a slot that waits for the registry, and the function that the
// registry calls.
func (q *requests) change(then func(*slot)) (*slot, func(registry.Result, error)) {
	s := &slot{ready: make(chan struct{}), then: then}
	q.changing.Add(1)
	return s, func(res registry.Result, err error) {
		s.result, s.err = res, err
		q.changing.Add(-1)
		if err == nil && q.t.opts.AckPeer {
			q.t.reg.AfterAck(func() { close(s.ready) })
			return
		}
		close(s.ready)
	}
}

// unchanged is the slot of a change that was made before.
func (q *requests) unchanged(res registry.Result, then func(*slot)) *slot {
	s := &slot{result: res, ready: closed, then: then}
	if q.t.opts.AckPeer { // it may still be on its way to the others
		s.ready = make(chan struct{})
		q.t.reg.AfterAck(func() { close(s.ready) })
	}
	return s
}
