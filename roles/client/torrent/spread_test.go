package torrent

import (
	"log/slog"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/picker"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// twoGetters are linked with a seeder of four pieces.
func twoGetters(t *testing.T) (a, b *scripted, aConn *peer.Conn) {
	t.Helper()
	c, tr := newContent(t, 4*torrentfmt.PieceSize), transporttest.Memory()
	seeder := newNode(t, tr, 1, c, all(c)...)
	a, b = newScripted(c), newScripted(c)
	aConn = a.node(t, tr, 2).join(seeder, c.id)
	b.node(t, tr, 3).join(seeder, c.id)
	pass(time.Second)
	return a, b, aConn
}

func TestASeederGivesEachPieceToOnePeerUntilEveryPieceIsOut(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		a, b, _ := twoGetters(t)
		a.mustFetch(t, 0)
		b.mustBeRefused(t, 0)
		b.mustFetch(t, 1)
		b.mustBeRefused(t, 0) // to ask again changes nothing
		a.mustBeRefused(t, 1)
		a.mustFetch(t, 2)
		pass(time.Minute)
		if told, _ := b.counts(0); told != 0 {
			t.Fatalf("told %d times of a piece that is kept back", told)
		}
		b.mustFetch(t, 3) // the last that nobody had
		pass(time.Second)
		for getter, piece := range map[*scripted]int{a: 1, b: 0} {
			if told, _ := getter.counts(piece); told != 1 {
				t.Errorf("told %d times that piece %d may be had now, want once", told, piece)
			}
			getter.mustFetch(t, piece)
		}
	})
}

func TestAPieceMayBeHadAgainWhenItsOnlyHolderHasGone(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		a, b, aConn := twoGetters(t)
		a.mustFetch(t, 0)
		b.mustBeRefused(t, 0)
		aConn.Close(0)
		pass(time.Second)
		if told, _ := b.counts(0); told != 1 {
			t.Errorf("told %d times that the piece may be had again, want once", told)
		}
		b.mustFetch(t, 0)
	})
}

func TestAPeerIsSentAgainWhatItWasSentBefore(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		a, _, _ := twoGetters(t)
		a.mustFetch(t, 0)
		a.mustFetch(t, 0) // it may have been damaged on its way
	})
}

// seeding is the state of a seeder of so many pieces with so many peers, which
// have nothing, and whose links lead nowhere.
func seeding(pieces, peers int) (*swarm, []*source) {
	have := bitset.New(uint(pieces)).FlipRange(0, uint(pieces))
	s := &swarm{
		Torrent: &Torrent{o: Options{
			Torrent: blank(pieces), Log: slog.New(slog.DiscardHandler),
			Spoiled: func(bool) {}, Lonely: func() {},
		}},
		have: have, whole: true, picker: picker.New(pieces, have, nil), sources: map[*peer.Link]*source{},
	}
	var list []*source
	for range peers {
		link := new(peer.Link)
		s.sources[link] = &source{link: link, has: bitset.New(uint(pieces)), lacks: pieces}
		list = append(list, s.sources[link])
	}
	return s, list
}

// blank is a torrent of which only the number of pieces matters.
type blank int

func (b blank) NumPieces() int           { return int(b) }
func (b blank) PieceLen(int) int         { return 1 }
func (b blank) PieceOK(int, []byte) bool { return true }

// shrunk is a file that has these pieces left.
type shrunk struct {
	File
	left *bitset.BitSet
}

func (f shrunk) Have() *bitset.BitSet { return f.left.Clone() }

func (s *swarm) claim(src *source, piece int, take bool) bool {
	answer := make(chan bool, 1)
	claimed{src.link, piece, take, answer}.apply(s)
	return <-answer
}

func TestAPieceThatDidNotGoOutWholeMayBeHadByAnother(t *testing.T) {
	s, peers := seeding(3, 2)
	if !s.claim(peers[0], 0, true) || s.claim(peers[1], 0, true) {
		t.Fatal("want the piece for the first and not for the second")
	}
	unsent{peers[0].link, 0}.apply(s)
	if !s.claim(peers[1], 0, true) {
		t.Error("the piece is still kept back")
	}
}

// A peer that is being sent the only copy of a piece and takes its time must
// not keep it from others once there is nothing else to give.
func TestAPeerThatTakesItsTimeKeepsAPieceFromNobodyInTheEnd(t *testing.T) {
	s, peers := seeding(3, 2)
	for piece := range 3 {
		if !s.claim(peers[min(piece, 1)], piece, true) {
			t.Fatalf("piece %d was refused", piece)
		}
	}
	if !s.claim(peers[1], 0, true) {
		t.Error("the piece that the slow one is being sent is kept back for ever")
	}
}

func TestAskingAgainAndAgainMakesTheSeederRememberNoMore(t *testing.T) {
	const pieces = 100
	s, peers := seeding(pieces, 2)
	for piece := range pieces - 1 {
		if !s.claim(peers[0], piece, true) {
			t.Fatalf("piece %d was refused", piece)
		}
	}
	for range 100 {
		for piece := range pieces - 1 {
			if s.claim(peers[1], piece, true) {
				t.Fatalf("piece %d was given twice", piece)
			}
		}
	}
	if n := peers[1].kept.Count(); n != pieces-1 {
		t.Errorf("%d pieces are remembered as kept back, want %d", n, pieces-1)
	}
	if n := peers[1].kept.Len(); n > pieces {
		t.Errorf("the memory is %d bits long for %d pieces", n, pieces)
	}
	if !s.claim(peers[1], pieces-1, true) || peers[1].kept.Any() {
		t.Errorf("after the last new piece %d are still kept back", peers[1].kept.Count())
	}
}

func TestPiecesThatPeersBroughtCountAsGivenAway(t *testing.T) {
	s, peers := seeding(3, 2)
	gained{peers[0].link, []uint32{0, 1}}.apply(s)
	if s.claim(peers[1], 0, true) {
		t.Error("a piece that a peer has was sent while there is one that nobody has")
	}
	if !s.claim(peers[1], 2, true) || !s.claim(peers[1], 0, true) {
		t.Error("a piece was refused although nothing else is left to give")
	}
}

func TestAPieceThatItsHolderWithdrawsIsNewAgain(t *testing.T) {
	s, peers := seeding(3, 3)
	gained{peers[0].link, []uint32{0}}.apply(s)
	if s.claim(peers[1], 0, true) {
		t.Fatal("piece 0 was not kept back")
	}
	withdrawn{peers[0].link, []uint32{0}}.apply(s)
	if peers[1].kept.Any() || !s.claim(peers[1], 0, true) {
		t.Error("piece 0 is still kept back, and nobody has it")
	}
}

func TestPiecesThatTheSeederHasLostKeepNothingBack(t *testing.T) {
	s, peers := seeding(3, 2)
	s.claim(peers[0], 0, true)
	if s.claim(peers[1], 0, true) {
		t.Fatal("piece 0 was not kept back")
	}
	s.o.File = shrunk{left: bitset.New(3).Set(0)}
	spoiled{}.apply(s)
	if !s.claim(peers[1], 0, true) {
		t.Error("piece 0 is kept back for the sake of pieces that nobody can give")
	}
	if peers[1].kept.Any() {
		t.Error("what is lost is kept in mind")
	}
}

func TestARefusedPieceIsAskedForAgainOnlyAfterWordOfIt(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		c, tr := newContent(t, 3*torrentfmt.PieceSize), transporttest.Memory()
		server := newScripted(c, all(c)...)
		refuse := true
		server.send = func(_ *peer.Link, piece int) bool { return piece != 1 || !refuse }
		getter := newNode(t, tr, 2, c)
		getter.join(server.node(t, tr, 1), c.id)
		pass(10 * time.Minute)
		if _, asked := server.counts(1); asked != 1 {
			t.Errorf("asked %d times in ten minutes for a piece that is not there, want once", asked)
		}
		refuse = false
		server.say(1)
		getter.awaitWhole(c)
		if _, asked := server.counts(1); asked != 2 {
			t.Errorf("asked %d times in all, want twice", asked)
		}
	})
}

// The word goes by the torrent's stream, the refusal by the piece's.
func TestWordThatOvertakesTheRefusalHolds(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		c, tr := newContent(t, 3*torrentfmt.PieceSize), transporttest.Memory()
		server := newScripted(c, all(c)...)
		first := true
		server.send = func(l *peer.Link, piece int) bool {
			if piece != 1 || !first {
				return true
			}
			first = false
			l.Have(1)
			pass(time.Second)
			return false
		}
		getter := newNode(t, tr, 2, c)
		getter.join(server.node(t, tr, 1), c.id)
		getter.awaitWhole(c)
	})
}

func TestEveryPeerHearsOfEveryPieceWhetherItHasItOrNot(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		c, tr := newContent(t, 20*torrentfmt.PieceSize), transporttest.Memory()
		some, none := newScripted(c, 3, 4, 5, 6, 7), newScripted(c)
		getter := newNode(t, tr, 2, c)
		getter.join(none.node(t, tr, 4), c.id)
		pass(time.Second) // before there is anything that its first word could tell
		getter.join(some.node(t, tr, 3), c.id)
		pass(time.Second)
		getter.join(newNode(t, tr, 1, c, all(c)...), c.id)
		getter.awaitWhole(c)
		pass(time.Second)
		for name, p := range map[string]*scripted{"that has some": some, "that has none": none} {
			for piece := range 20 {
				if told, _ := p.counts(piece); told == 0 {
					t.Errorf("the peer %s was never told of piece %d", name, piece)
				}
			}
		}
	})
}
