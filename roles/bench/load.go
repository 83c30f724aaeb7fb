package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// session is one client's session with a tracker, driven by two goroutines:
// one writes requests, one reads replies.
type session struct {
	addr string
	sess transport.Session
	st   transport.Stream
	in   *wire.Reader
}

const (
	dialTimeout = 20 * time.Second
	// stallTimeout bounds the wait for the replies of one phase beyond its
	// own time.
	stallTimeout = 2 * time.Minute
	// writeAt is how many bytes of requests go out in one write.
	writeAt = 32 << 10
)

// dial connects the client that is listed as ip:port.
func dial(ctx context.Context, table transport.Table, tracker string, listed netip.AddrPort) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	sess, err := table.Dial(ctx, tracker)
	if err != nil {
		return nil, err
	}
	s := &session{addr: listed.String(), sess: sess}
	if err := s.greet(ctx); err != nil {
		_ = sess.Close()
		return nil, fmt.Errorf("tracker %s: %w", tracker, err)
	}
	return s, nil
}

func (s *session) greet(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.sess.Close() })
	defer stop()
	hi, err := s.sess.Open(ctx)
	if err != nil {
		return err
	}
	hello := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), Agent: "mtor bench"}
	_, _ = rand.Read(hello.NodeId) // never fails
	b, err := wire.Append(nil, hello)
	if err != nil {
		return err
	}
	if err := transport.WriteLast(hi, b); err != nil {
		return err
	}
	if _, err := wire.ReadHello(hi); err != nil {
		return err
	}
	if err := hi.Close(); err != nil {
		return err
	}
	if s.st, err = s.sess.Open(ctx); err != nil {
		return err
	}
	s.in = wire.NewReader(s.st)
	return wire.Write(s.st, &wire.Open{Kind: &wire.Open_Requests{Requests: &wire.Requests{}}})
}

// hashes is the hash string of the nth torrent: one piece.
func hashes(n int) []byte {
	h := make([]byte, torrentfmt.HashSize)
	binary.BigEndian.PutUint64(h, uint64(n)+1)
	return h
}

// announce frames an announcement of the nth torrent; with its hash string if
// the tracker may lack it.
func (s *session) announce(b []byte, n int, want uint32, whole, fresh bool) []byte {
	h := hashes(n)
	id := torrentfmt.HashID(h)
	a := &wire.Announce{TorrentId: id[:], Whole: whole, Want: want}
	if fresh {
		a.Filename, a.Filesize, a.HashLength = fmt.Sprint("bench-", n), 1, uint64(len(h))
	}
	// Append fails only on text that is no UTF-8.
	b, _ = wire.Append(b, &wire.Request{Kind: &wire.Request_Announce{Announce: a}, Addr: s.addr})
	if fresh {
		b = append(b, h...)
	}
	return b
}

// feed gives the next bytes of requests and how many requests they are; none at
// the end. It may wait.
type feed func(ctx context.Context) (b []byte, n int)

// drive sends what the feed gives and reads the replies, until all are in. It
// returns how many there were.
func (s *session) drive(ctx context.Context, next feed) (int, error) {
	var sent atomic.Int64
	done := make(chan error, 1)
	more := make(chan struct{}, 1)
	poke := func() {
		select {
		case more <- struct{}{}:
		default:
		}
	}
	over := atomic.Bool{}
	go func() {
		defer poke()
		defer over.Store(true)
		for {
			b, n := next(ctx)
			if n == 0 {
				done <- nil
				return
			}
			sent.Add(int64(n))
			poke()
			if _, err := s.st.Write(b); err != nil {
				done <- err
				return
			}
		}
	}()
	read := 0
	var reply wire.Reply
	var err error
	for err == nil {
		if int64(read) == sent.Load() {
			if over.Load() && int64(read) == sent.Load() {
				break
			}
			<-more
			continue
		}
		if err = s.in.Next(&reply, wire.MaxMessage); err == nil {
			read++
			if reply.GetError() != wire.Error_ERROR_NONE {
				err = &wire.CodeError{Code: reply.GetError(), Msg: reply.GetMessage()}
			}
		}
	}
	if err != nil {
		_ = s.sess.Close() // wakes the writer
	}
	if werr := <-done; err == nil {
		err = werr
	}
	return read, err
}

// all drives every session with its feed at once and returns the number of
// requests and how long they took.
func all(ctx context.Context, sessions []*session, next func(i int) feed) (int, time.Duration, error) {
	var total atomic.Int64
	errs := make(chan error, len(sessions))
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, func() {
		for _, s := range sessions {
			_ = s.sess.Close()
		}
	})
	defer stop()
	began := time.Now()
	for i, s := range sessions {
		f := next(i)
		wg.Go(func() {
			n, err := s.drive(ctx, f)
			total.Add(int64(n))
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return 0, 0, err
	default:
		return int(total.Load()), took, nil
	}
}

// share is the torrents that one of the sessions announces so that each of all
// torrents gets rows from-to of its rows, each from another session.
func share(session, sessions, torrents, from, to int) []int {
	var out []int
	for n := range torrents {
		// Torrent n's rows are those of the sessions after n.
		if at := (session - n%sessions + sessions) % sessions; at >= from && at < to {
			out = append(out, n)
		}
	}
	return out
}

// once announces each torrent once.
func (s *session) once(torrents []int, first int, fresh bool) feed {
	return func(context.Context) ([]byte, int) {
		var b []byte
		n := 0
		for len(torrents) > 0 && len(b) < writeAt {
			b = s.announce(b, first+torrents[0], 0, true, fresh)
			torrents = torrents[1:]
			n++
		}
		return b, n
	}
}

// again announces torrents over and over for a time.
func (s *session) again(torrents []int, first int, want uint32, d time.Duration) feed {
	type part struct {
		b []byte
		n int
	}
	var parts []part
	for f := s.onceWanting(torrents, first, want); ; {
		b, n := f()
		if n == 0 {
			break
		}
		parts = append(parts, part{b, n})
	}
	at := 0
	end := time.Now().Add(d)
	return func(ctx context.Context) ([]byte, int) {
		if len(parts) == 0 || ctx.Err() != nil || time.Now().After(end) {
			return nil, 0
		}
		p := parts[at]
		at = (at + 1) % len(parts)
		return p.b, p.n
	}
}

// refreshWrite keeps what is outstanding at the end of a timed phase small.
const refreshWrite = 4 << 10

func (s *session) onceWanting(torrents []int, first int, want uint32) func() ([]byte, int) {
	return func() ([]byte, int) {
		var b []byte
		n := 0
		for len(torrents) > 0 && len(b) < refreshWrite {
			b = s.announce(b, first+torrents[0], want, true, false)
			torrents = torrents[1:]
			n++
		}
		return b, n
	}
}

// paced announces each torrent once, so many a second, for a time.
func (s *session) paced(torrents []int, first int, perSecond float64, d time.Duration) feed {
	const beat = 10 * time.Millisecond
	began := time.Now()
	sent := 0
	return func(ctx context.Context) ([]byte, int) {
		for {
			due := min(int(time.Since(began).Seconds()*perSecond), len(torrents))
			if due > sent {
				var b []byte
				n := due - sent
				for ; sent < due; sent++ {
					b = s.announce(b, first+torrents[sent], 0, true, false)
				}
				return b, n
			}
			if sent == len(torrents) || time.Since(began) > d {
				return nil, 0
			}
			select {
			case <-time.After(beat):
			case <-ctx.Done():
				return nil, 0
			}
		}
	}
}
