package torrent

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/picker"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestHowLateIsLateFollowsWhatAPieceTakesHere(t *testing.T) {
	s := new(swarm)
	if got := s.late(); got != firstLate {
		t.Errorf("before the first piece: %s, want %s", got, firstLate)
	}
	s.timed(time.Millisecond)
	if got := s.late(); got != minLate {
		t.Errorf("where pieces take 1 ms: %s, want %s", got, minLate)
	}
	for range 50 {
		s.timed(time.Second)
	}
	if got := s.late(); got < 39*time.Second/10 || got > 4*time.Second {
		t.Errorf("where pieces take 1 s: %s, want nearly 4 s", got)
	}
	for range 50 {
		s.timed(time.Minute)
	}
	if got := s.late(); got != slowPiece {
		t.Errorf("where pieces take 1 minute: %s, want %s", got, slowPiece)
	}
}

// holding is the state of a download from peers that have everything; asked[i]
// are the pieces that peer i was asked for so long ago.
func holding(pieces int, asked ...map[int]time.Duration) (s *swarm, peers []*source, cancelled func(peer, piece int) bool, now time.Time) {
	now = time.Now()
	s = &swarm{picker: picker.New(pieces, nil, rand.New(rand.NewPCG(1, 1))), sources: map[*peer.Link]*source{}}
	gone := map[[2]int]bool{}
	for i, of := range asked {
		src := &source{asked: map[int]*request{}, has: bitset.New(uint(pieces)).FlipRange(0, uint(pieces))}
		for piece, age := range of {
			src.asked[piece] = &request{cancel: func() { gone[[2]int{i, piece}] = true }, since: now.Add(-age)}
		}
		s.sources[new(peer.Link)] = src
		peers = append(peers, src)
	}
	return s, peers, func(peer, piece int) bool { return gone[[2]int{peer, piece}] }, now
}

func TestAPieceIsTakenBackOnlyWhenAnotherStandsIdleForIt(t *testing.T) {
	const old = slowPiece + time.Second
	for name, c := range map[string]struct {
		second map[int]time.Duration // what the other was asked for
		change func(second *source, now time.Time)
		want   bool
	}{
		"the other is idle":               {want: true},
		"the other is busy":               {second: map[int]time.Duration{1: time.Second}},
		"the other lacks the piece":       {change: func(second *source, _ time.Time) { second.has.Clear(0) }},
		"the other has stalled and rests": {change: func(second *source, now time.Time) { second.stalled(now) }},
	} {
		s, peers, cancelled, now := holding(2, map[int]time.Duration{0: old}, c.second)
		if c.change != nil {
			c.change(peers[1], now)
		}
		s.freeSlow(now)
		if cancelled(0, 0) != c.want || peers[0].asked[0].slow != c.want {
			t.Errorf("%s: taken back %t, want %t", name, cancelled(0, 0), c.want)
		}
	}
}

func TestAPieceThatIsNotLateIsLeftWhereItIs(t *testing.T) {
	s, _, cancelled, now := holding(2, map[int]time.Duration{0: slowPiece - time.Second}, nil)
	s.freeSlow(now)
	if cancelled(0, 0) {
		t.Error("taken back too early")
	}
}

func TestOfTwoThatAreLateWithAPieceTheFasterGoesOn(t *testing.T) {
	late := map[int]time.Duration{0: firstLate + time.Second}
	s, peers, cancelled, now := holding(2, late, late, nil)
	peers[0].rate, peers[1].rate = 10, 1000
	s.freeSlow(now)
	if !cancelled(0, 0) || cancelled(1, 0) {
		t.Errorf("taken from the slow one %t, from the fast one %t", cancelled(0, 0), cancelled(1, 0))
	}
	s.freeSlow(now)
	if cancelled(1, 0) {
		t.Error("then taken from the fast one as well: nobody fetches it any more")
	}
}

func TestOfTwoEquallySlowOnesOneGoesOn(t *testing.T) {
	late := map[int]time.Duration{0: firstLate + time.Second}
	s, _, cancelled, now := holding(1, late, late, nil)
	s.freeSlow(now)
	if cancelled(0, 0) == cancelled(1, 0) {
		t.Errorf("taken from the first %t, from the second %t: want it of one", cancelled(0, 0), cancelled(1, 0))
	}
}

// silent takes requests for pieces and never answers.
func silent(c *content, until <-chan struct{}) *scripted {
	x := newScripted(c, all(c)...)
	x.send = func(*peer.Link, int) bool { <-until; return false }
	return x
}

func TestAPieceThatAPeerSitsOnComesFromAnotherWithin20Seconds(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		c, tr := newContent(t, 8*torrentfmt.PieceSize), transporttest.Memory()
		over := make(chan struct{})
		sitter := silent(c, over)
		getter := newNode(t, tr, 2, c)
		getter.join(sitter.node(t, tr, 1), c.id)
		t.Cleanup(func() { close(over) })
		pass(time.Second) // by now it was asked for as much as it ever is at first
		began := time.Now()
		getter.join(newNode(t, tr, 3, c, all(c)...), c.id)
		getter.awaitWhole(c)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("whole after %s", took)
		}
	})
}

func TestAPieceThatIsAskedForTwiceIsCancelledWhereItHasNotCome(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		c, tr := newContent(t, 2*torrentfmt.PieceSize), transporttest.Memory()
		over := make(chan struct{})
		sitter, other := silent(c, over), newScripted(c, all(c)...)
		other.send = func(_ *peer.Link, piece int) bool {
			if piece == 1 {
				<-over
			}
			return piece == 0
		}
		getter := newNode(t, tr, 2, c)
		getter.join(sitter.node(t, tr, 1), c.id)
		pass(time.Millisecond)
		getter.join(other.node(t, tr, 3), c.id)
		t.Cleanup(func() { close(over) })
		pass(time.Millisecond)
		for _, x := range []*scripted{sitter, other} {
			for piece := range 2 {
				if _, asked := x.counts(piece); asked != 1 {
					t.Errorf("piece %d was asked for %d times of one of the two, want once", piece, asked)
				}
			}
		}
		if n, done := getter.cancelled.Load(), getter.tor.Status().Done; n != 1 || done != torrentfmt.PieceSize {
			t.Errorf("%d requests are cancelled and %d bytes are here, want 1 and %d", n, done, torrentfmt.PieceSize)
		}
	})
}

func TestADownloadThatHasLostAllItsSeedersGoesOnWithTheNext(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		c, tr := newContent(t, 8*torrentfmt.PieceSize), transporttest.Memory()
		getter := newNode(t, tr, 2, c)
		conn := getter.join(newNode(t, tr, 1, c, 0, 1, 2), c.id)
		pass(time.Second)
		conn.Close(0)
		pass(time.Hour)
		if st := getter.tor.Status(); st.Err != nil || st.Whole || st.Peers != 0 || st.Done != 3*torrentfmt.PieceSize {
			t.Fatalf("an hour after the seeder went: %+v", st)
		}
		getter.join(newNode(t, tr, 3, c, all(c)...), c.id)
		getter.awaitWhole(c)
	})
}
