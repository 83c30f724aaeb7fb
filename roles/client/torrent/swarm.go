package torrent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/picker"
	"github.com/mtor-dev/mtor/roles/client/storage"
)

const (
	// tickEvery is how often rates and windows are worked out.
	tickEvery = 500 * time.Millisecond
	// firstWindow is how many pieces are asked of a peer before its rate is
	// known; minWindow keeps one coming while another is verified.
	firstWindow = 4
	minWindow   = 2
	// maxWindow keeps what one peer is asked for below QUIC's connection
	// window of 16 MiB, so that no piece waits behind another's flow control.
	maxWindow = 24
	// endgameWindow is how many pieces are asked of a peer once all are asked
	// for: a peer with nothing else to do takes over what is late, and what is
	// under way is not fetched twice.
	endgameWindow = 2
	// windowTime is how much of a peer's present rate is kept asked for.
	windowTime = 500 * time.Millisecond
	// refusedRest and stalledRest are how long a peer that refused a piece or
	// went silent is not asked; the latter doubles with each time, up to
	// maxRest, so that peers that only hold pieces cannot take turns.
	refusedRest = time.Second
	stalledRest = 10 * time.Second
	maxRest     = 10 * time.Minute
	// starvedRetry is how soon to look again for a free piece buffer.
	starvedRetry = 20 * time.Millisecond
	// rateMemory is the weight of the past in a rate, per tick: about three
	// seconds' memory.
	rateMemory = 0.85
)

// swarm is the state that Run owns.
type swarm struct {
	*Torrent
	fetching context.Context
	have     *bitset.BitSet
	whole    bool
	ending   bool // all pieces are there; being made durable
	failed   bool
	room     room
	picker   *picker.Picker
	sources  map[*peer.Link]*source
	spread   *spread // a seeder's
	handles  picker.Peer
	banned   map[peer.ID]bool
	inflight int
	usual    time.Duration // how long a piece is on its way; 0 before the first
	starved  <-chan time.Time
	began    time.Time

	received, sentBefore int64 // bytes since, and up to, the last tick
	fetched              int64 // bytes in this run
}

// source is one peer of this torrent.
type source struct {
	link     *peer.Link
	handle   picker.Peer
	asked    map[int]*request
	has      *bitset.BitSet // its pieces
	lacks    int            // how many it does not have
	window   int
	received int64 // bytes since the last tick
	rate     float64
	pieces   int   // that came from it
	sent     int64 // bytes up to the last tick
	upRate   float64
	restTill time.Time
	later    []uint32      // pieces that it is to be told of, with no hurry; each once
	sending  bitset.BitSet // pieces that it is being sent and has not told of
	kept     bitset.BitSet // pieces that were kept back from it
	stalls   int           // how often it held a piece rather than sent it
}

// gain and withdraw keep the count of what a peer lacks, so that no news costs
// a walk through all pieces.
func (s *swarm) gain(src *source, piece int) {
	if r := src.asked[piece]; r != nil {
		r.told = true
	}
	if !src.has.Test(uint(piece)) {
		src.has.Set(uint(piece))
		src.lacks--
		s.picker.Have(src.handle, piece)
		s.heard(src, piece)
	}
}

func (s *swarm) withdraw(src *source, piece int) {
	if src.has.Test(uint(piece)) {
		src.has.Clear(uint(piece))
		src.lacks++
		s.picker.Withdraw(src.handle, piece)
		s.respread(piece)
	}
}

// request is a piece asked of a peer.
type request struct {
	cancel context.CancelFunc
	since  time.Time
	slow   bool // cancelled because another peer stands idle for it
	told   bool // the peer has said since that it has the piece
}

// part ends the link between two sides that both have everything.
func (s *swarm) part(src *source) bool {
	if !s.whole || src.lacks > 0 {
		return false
	}
	src.link.Bye()
	return true
}

// ask fills every peer's window, those that never stalled and the fastest first.
func (s *swarm) ask() {
	order := make([]*source, 0, len(s.sources))
	for _, src := range s.sources {
		order = append(order, src)
	}
	slices.SortFunc(order, func(a, b *source) int {
		return cmp.Or(cmp.Compare(a.stalls, b.stalls), cmp.Compare(b.rate, a.rate), cmp.Compare(a.handle, b.handle))
	})
	for _, src := range order {
		s.askOf(src)
	}
}

// askOf asks a peer for pieces up to its window. The buffer is reserved before
// the request goes out, so that what arrives always has a place.
func (s *swarm) askOf(src *source) {
	if s.whole || s.ending || s.failed || s.room.none || time.Now().Before(src.restTill) {
		return
	}
	for len(src.asked) < s.windowOf(src) && s.inflight < s.ahead() && s.picker.Wants(src.handle) {
		buf, ok := s.o.Buffers.TryGet()
		if !ok {
			if s.starved == nil {
				s.starved = time.After(starvedRetry)
			}
			return
		}
		piece, ok := s.picker.Pick(src.handle)
		if !ok {
			s.o.Buffers.Put(buf)
			return
		}
		ctx, cancel := context.WithCancel(s.fetching)
		src.asked[piece] = &request{cancel: cancel, since: time.Now()}
		s.inflight++
		s.wg.Go(func() {
			err := s.fetch(ctx, src.link, piece, buf)
			cancel()
			s.o.Observe.ended(err)
			_ = s.post(arrived{src.link, piece, err})
		})
	}
}

// windowOf is how many pieces a peer may be asked for now.
func (s *swarm) windowOf(src *source) int {
	if s.picker.Endgame() {
		return min(src.window, endgameWindow)
	}
	return src.window
}

// ahead bounds the pieces in flight by what the download limits let through, so
// that a slow torrent does not hold all buffers.
func (s *swarm) ahead() int {
	n := math.MaxInt
	for _, g := range s.o.Downloads {
		n = min(n, g.Ahead())
	}
	return n
}

// limited reports whether this side itself slows its downloads down.
func (s *swarm) limited() bool { return s.ahead() < math.MaxInt }

var (
	errBadPiece = errors.New("a piece with the wrong digest")
	errDisk     = errors.New("cannot write")
)

// diskError is an errDisk whose words are those of its cause.
type diskError struct{ error }

func (e diskError) Is(target error) bool { return target == errDisk }
func (e diskError) Unwrap() error        { return e.error }

// fetch gets one piece, verifies and writes it, and gives its buffer back.
func (t *Torrent) fetch(ctx context.Context, l *peer.Link, piece int, buf []byte) error {
	defer t.o.Buffers.Put(buf)
	data := buf[:t.o.Torrent.PieceLen(piece)]
	begun := time.Now()
	if err := l.Fetch(ctx, piece, data, t.o.Downloads...); err != nil {
		return err
	}
	if f := t.o.Observe.Received; f != nil {
		f(l.Conn().Scheme(), len(data), time.Since(begun))
	}
	if !t.o.Torrent.PieceOK(piece, data) {
		return errBadPiece
	}
	if err := t.o.File.WritePiece(piece, data); err != nil {
		return diskError{err}
	}
	return nil
}

func (s *swarm) gotPiece(e arrived, src *source) {
	n := int64(s.o.Torrent.PieceLen(e.piece))
	s.received += n
	if src != nil {
		src.received += n
		src.pieces++
		if src.rate == 0 { // until then each piece proves that more can be asked for
			src.window = min(src.window+1, maxWindow)
		}
	}
	if s.have.Test(uint(e.piece)) {
		return // the other one of an endgame pair was first
	}
	s.have.Set(uint(e.piece))
	s.room.wait = 0
	s.fetched += n
	for _, h := range s.picker.Done(e.piece) {
		if other := s.source(h); other != nil && other != src {
			if r := other.asked[e.piece]; r != nil {
				r.cancel()
			}
		}
	}
	for _, other := range s.sources {
		if other.has.Test(uint(e.piece)) {
			other.later = append(other.later, uint32(e.piece))
		} else {
			other.link.Have(uint32(e.piece))
		}
	}
	s.update(func(st *Status) {
		st.Done += n
		st.Sources[e.link.Conn().Source()]++
	})
}

// tellLater tells a peer of the pieces that it did not need to hear of at once,
// as it has them itself: half of all pieces, in a swarm of equals, and many go
// into one message.
func (src *source) tellLater() {
	if len(src.later) > 0 {
		src.link.Have(src.later...)
		src.later = nil
	}
}

func (s *swarm) source(h picker.Peer) *source {
	for _, src := range s.sources {
		if src.handle == h {
			return src
		}
	}
	return nil
}

func (s *swarm) missedPiece(e arrived, src *source, r request) {
	s.picker.Failed(src.handle, e.piece)
	log := s.o.Log.With("peer", src.link.Conn().Source(), "piece", e.piece)
	switch {
	case r.slow:
		log.Info("piece taken from a slow peer")
		if src.rate > 0 {
			src.restTill = time.Now().Add(refusedRest)
		} else {
			src.stalled(time.Now())
		}
	case errors.Is(e.err, context.Canceled): // it came from elsewhere
	case storage.IsDiskFull(e.err):
		s.pause(e.err)
	case errors.Is(e.err, errDisk):
		s.fail(e.err)
	case errors.Is(e.err, errBadPiece), errors.Is(e.err, peer.ErrLength):
		log.Warn("bad piece: the peer is banned for this torrent", "error", e.err)
		s.ban(src)
	case errors.Is(e.err, peer.ErrNotHere):
		if !r.told { // else it kept the piece back until just now
			s.withdraw(src, e.piece)
		}
	case errors.Is(e.err, peer.ErrStalled):
		log.Warn("peer stalled", "error", e.err)
		src.stalled(time.Now())
	default:
		log.Debug("piece not sent", "error", e.err)
		src.restTill = time.Now().Add(refusedRest)
	}
	if s.picker.Missing() > 0 {
		s.ask() // what this peer owed may be had from another
	}
}

// stalled lets a peer rest. Pieces that it held at the same time count once.
func (src *source) stalled(now time.Time) {
	if now.Before(src.restTill) {
		return
	}
	src.restTill = now.Add(min(stalledRest<<src.stalls, maxRest))
	src.stalls = min(src.stalls+1, 10)
}

func (s *swarm) ban(src *source) {
	if len(s.banned) >= maxBanned {
		clear(s.banned)
	}
	s.banned[src.link.Conn().ID] = true
	if f := s.o.Observe.Banned; f != nil {
		f()
	}
	src.link.BadPiece()
	gone{src.link}.apply(s)
}

// complete makes the file durable once every piece is there and nothing is
// being written.
func (s *swarm) complete() {
	if s.whole || s.ending || s.failed || s.picker.Missing() > 0 {
		return
	}
	if s.inflight > 0 {
		s.cancelAll()
		return
	}
	s.ending = true
	s.wg.Go(func() { _ = s.post(finished{s.o.File.Finish()}) })
}

// from lists the sources of this run: "tcp 127.0.0.1:7001=312, ...".
func (s *swarm) from() string {
	var parts []string
	for name, n := range s.Status().Sources {
		parts = append(parts, fmt.Sprintf("%s=%d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (s *swarm) cancelAll() {
	for _, src := range s.sources {
		src.cancelAll()
	}
}

func (src *source) cancelAll() {
	for _, r := range src.asked {
		r.cancel()
	}
}

// fail stops a download. What was verified is kept.
func (s *swarm) fail(err error) {
	if s.failed {
		return
	}
	s.failed = true
	s.o.Log.Error("download stopped", "error", err)
	s.cancelAll()
	s.update(func(st *Status) { st.Err = err })
	s.o.Stopped()
}

// tick works out rates and windows, and asks again where a rest has ended.
func (s *swarm) tick(now time.Time) {
	perTick := tickEvery.Seconds()
	for _, src := range s.sources {
		src.rate = blend(src.rate, float64(src.received)/perTick)
		src.received = 0
		src.tellLater()
		sent := src.link.Sent()
		src.upRate = blend(src.upRate, float64(sent-src.sent)/perTick)
		src.sent = sent
		if src.rate > 0 {
			ahead := int(src.rate * windowTime.Seconds() / float64(s.o.Torrent.PieceLen(0)))
			src.window = min(max(ahead+1, minWindow), maxWindow)
		}
	}
	sent := s.sent.Load()
	up := float64(sent-s.sentBefore) / perTick
	down := float64(s.received) / perTick
	s.sentBefore, s.received = sent, 0
	s.update(func(st *Status) {
		st.UpRate = blend(st.UpRate, up)
		st.DownRate = blend(st.DownRate, down)
	})
	s.ask()
	s.look(now)
	if !s.limited() { // else every piece may take long
		s.freeSlow(now)
	}
}

func blend(old, sample float64) float64 {
	if rate := old*rateMemory + sample*(1-rateMemory); rate >= 1 {
		return rate
	}
	return 0
}

func (s *swarm) update(f func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}
