package picker

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bits-and-blooms/bitset"
	"pgregory.net/rapid"
)

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func bitsOf(n int, set ...int) *bitset.BitSet {
	b := bitset.New(uint(n))
	for _, i := range set {
		b.Set(uint(i))
	}
	return b
}

func full(n int) *bitset.BitSet { return bitset.New(uint(n)).FlipRange(0, uint(n)) }

func mustPick(t *testing.T, p *Picker, peer Peer) int {
	t.Helper()
	piece, ok := p.Pick(peer)
	if !ok {
		t.Fatalf("Pick(%d) found nothing", peer)
	}
	return piece
}

func wantNothing(t *testing.T, p *Picker, peer Peer) {
	t.Helper()
	if piece, ok := p.Pick(peer); ok {
		t.Fatalf("Pick(%d) = %d, want nothing", peer, piece)
	}
}

func TestRarestPieceComesFirst(t *testing.T) {
	p := New(4, nil, newRand())
	p.Join(1, full(4))
	p.Join(2, bitsOf(4, 0, 1, 3))
	p.Join(3, bitsOf(4, 0, 3))
	p.Join(4, bitsOf(4, 3))
	for _, want := range []int{2, 1, 0, 3} {
		if got := mustPick(t, p, 1); got != want {
			t.Fatalf("picked %d, want %d", got, want)
		}
	}
}

func TestEqualPiecesArePickedInRandomOrder(t *testing.T) {
	const pieces, runs = 8, 4000
	seeder, partial := [pieces]int{}, [pieces]int{}
	rng := newRand()
	for range runs {
		p := New(pieces, nil, rng)
		p.Join(1, full(pieces))
		p.Join(2, bitsOf(pieces, 0, 2, 4))
		p.Withdraw(2, 4)
		p.Have(2, 4)
		p.Join(3, bitsOf(pieces, 1, 3, 5, 6, 7))
		seeder[mustPick(t, p, 1)]++
		q := New(pieces, nil, rng)
		q.Join(1, full(pieces))
		q.Join(2, bitsOf(pieces, 0, 2, 4))
		partial[mustPick(t, q, 2)]++
	}
	for i, n := range seeder {
		if n < runs/pieces*7/10 || n > runs/pieces*13/10 {
			t.Errorf("seeder's piece %d was first in %d of %d runs", i, n, runs)
		}
	}
	for _, i := range []int{0, 2, 4} {
		if n := partial[i]; n < runs/3*7/10 || n > runs/3*13/10 {
			t.Errorf("partial peer's piece %d was first in %d of %d runs", i, n, runs)
		}
	}
}

func TestEndgameAsksASecondPeerForTheOldestRequest(t *testing.T) {
	p := New(2, nil, newRand())
	for peer := range Peer(3) {
		p.Join(peer, full(2))
	}
	first, second := mustPick(t, p, 0), mustPick(t, p, 0)
	if got := mustPick(t, p, 1); got != first {
		t.Fatalf("endgame handed out %d, want the oldest, %d", got, first)
	}
	if got := mustPick(t, p, 2); got != second {
		t.Fatalf("endgame handed out %d, want %d: the other has two already", got, second)
	}
	for peer := range Peer(3) {
		wantNothing(t, p, peer)
	}
	if got := p.Done(first); !slices.Equal(got, []Peer{0, 1}) {
		t.Fatalf("Done names %v, want both who were asked", got)
	}
}

func TestEndgameWaitsWhileAnyPeerHasAFreePiece(t *testing.T) {
	p := New(3, bitsOf(3, 2), newRand())
	p.Join(1, bitsOf(3, 0, 1))
	p.Join(2, bitsOf(3, 0))
	if got := mustPick(t, p, 1); got != 1 {
		t.Fatalf("picked %d, want the rarer 1", got)
	}
	if got := mustPick(t, p, 2); got != 0 {
		t.Fatalf("picked %d, want 0", got)
	}
	p.Failed(1, 1)
	p.Join(3, bitsOf(3, 0))
	wantNothing(t, p, 3) // piece 1 is free at peer 1
	mustPick(t, p, 1)
	if got := mustPick(t, p, 3); got != 0 {
		t.Fatalf("endgame handed out %d, want 0", got)
	}
}

func TestPieceThatNobodyHasDoesNotHoldEndgameBack(t *testing.T) {
	p := New(2, nil, newRand())
	p.Join(1, bitsOf(2, 0))
	p.Join(2, bitsOf(2, 0))
	if mustPick(t, p, 1) != 0 || mustPick(t, p, 2) != 0 {
		t.Fatal("want piece 0 from both")
	}
}

func TestFailedRequestIsFreeAgainForAll(t *testing.T) {
	p := New(1, nil, newRand())
	p.Join(1, full(1))
	p.Join(2, full(1))
	mustPick(t, p, 1)
	p.Failed(2, 0) // was not asked
	wantNothing(t, p, 1)
	p.Failed(1, 0)
	mustPick(t, p, 2)
	p.Leave(2)
	mustPick(t, p, 1)
}

func TestCompletedPickerIgnoresEverythingAndKeepsNoArrays(t *testing.T) {
	p := New(3, bitsOf(3, 0), newRand())
	p.Join(1, full(3))
	p.Done(1)
	p.Done(2)
	p.Done(2)
	p.Join(2, full(3))
	p.Have(2, 1)
	p.Withdraw(1, 1)
	p.Failed(1, 1)
	wantNothing(t, p, 1)
	p.Leave(1)
	if p.Missing() != 0 || p.Wants(2) || p.rank != nil || p.missing != nil || p.byPeer[2].has != nil {
		t.Fatalf("left over: %+v", p)
	}
}

func TestPeersBeyondTheCapAreIgnored(t *testing.T) {
	p := New(1, nil, newRand())
	for peer := range Peer(MaxPeers) {
		p.Join(peer, nil)
	}
	p.Join(MaxPeers, full(1))
	wantNothing(t, p, MaxPeers)
	if p.Wants(MaxPeers) {
		t.Fatal("the peer beyond the cap was joined")
	}
	p.Leave(0)
	p.Join(MaxPeers, full(1))
	mustPick(t, p, MaxPeers)
}

// model is the picker as one would write it without regard for speed.
type model struct {
	missing map[int]bool
	has     map[Peer]map[int]bool
	asked   map[int][]Peer // oldest first within a piece
	age     map[int]int
	clock   int
}

func (m *model) free(i int) bool { return m.missing[i] && len(m.asked[i]) == 0 }

func (m *model) rarity(i int) int {
	n := 0
	for _, has := range m.has {
		if has[i] {
			n++
		}
	}
	return n
}

// choices are the pieces that Pick may return.
func (m *model) choices(peer Peer) []int {
	var out []int
	rarest, freeSomewhere := -1, false
	for i := range m.missing {
		if !m.free(i) || m.rarity(i) == 0 {
			continue
		}
		freeSomewhere = true
		if !m.has[peer][i] {
			continue
		}
		if r := m.rarity(i); rarest < 0 || r < rarest {
			rarest, out = r, []int{i}
		} else if r == rarest {
			out = append(out, i)
		}
	}
	if len(out) > 0 || freeSomewhere {
		return out
	}
	for i, peers := range m.asked {
		if len(peers) == 1 && peers[0] != peer && m.has[peer][i] && (len(out) == 0 || m.age[i] < m.age[out[0]]) {
			out = []int{i}
		}
	}
	return out
}

func (m *model) pick(peer Peer, i int) {
	if len(m.asked[i]) == 0 {
		m.clock++
		m.age[i] = m.clock
	}
	m.asked[i] = append(m.asked[i], peer)
}

func (m *model) fail(peer Peer, i int) {
	m.asked[i] = slices.DeleteFunc(m.asked[i], func(p Peer) bool { return p == peer })
	if len(m.asked[i]) == 0 {
		delete(m.asked, i)
	}
}

func (m *model) leave(peer Peer) {
	delete(m.has, peer)
	for i := range m.asked {
		m.fail(peer, i)
	}
}

func drawBits(rt *rapid.T, n int) (*bitset.BitSet, map[int]bool) {
	b, m := bitset.New(uint(n)), map[int]bool{}
	density := rapid.IntRange(0, 4).Draw(rt, "density") // 0: none, 4: all
	for i := range n {
		if density == 4 || density > 0 && rapid.IntRange(0, 3).Draw(rt, "bit") < density {
			b.Set(uint(i))
			m[i] = true
		}
	}
	return b, m
}

func TestPickerAgreesWithNaiveModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 70).Draw(rt, "pieces")
		have, had := drawBits(rt, n)
		p := New(n, have, newRand())
		m := &model{missing: map[int]bool{}, has: map[Peer]map[int]bool{}, asked: map[int][]Peer{}, age: map[int]int{}}
		for i := range n {
			if !had[i] {
				m.missing[i] = true
			}
		}
		drawPeer := func() Peer { return Peer(rapid.IntRange(0, 5).Draw(rt, "peer")) }
		drawPiece := func() int { return rapid.IntRange(-1, n).Draw(rt, "piece") }
		rt.Repeat(map[string]func(*rapid.T){
			"join": func(rt *rapid.T) {
				peer := drawPeer()
				b, set := drawBits(rt, n)
				p.Join(peer, b)
				b.ClearAll() // the picker must not have kept it
				m.leave(peer)
				m.has[peer] = set
			},
			"leave": func(rt *rapid.T) {
				peer := drawPeer()
				p.Leave(peer)
				m.leave(peer)
			},
			"have": func(rt *rapid.T) {
				peer, piece := drawPeer(), drawPiece()
				p.Have(peer, piece)
				if set := m.has[peer]; set != nil {
					set[piece] = true
				}
			},
			"withdraw": func(rt *rapid.T) {
				peer, piece := drawPeer(), drawPiece()
				p.Withdraw(peer, piece)
				delete(m.has[peer], piece)
			},
			"pick": func(rt *rapid.T) {
				peer := drawPeer()
				choices := m.choices(peer)
				piece, ok := p.Pick(peer)
				if ok != (len(choices) > 0) || ok && !slices.Contains(choices, piece) {
					rt.Fatalf("Pick(%d) = %d, %v; the model allows %v", peer, piece, ok, choices)
				}
				if ok {
					m.pick(peer, piece)
				}
			},
			"failed": func(rt *rapid.T) {
				peer, piece := drawPeer(), drawPiece()
				p.Failed(peer, piece)
				m.fail(peer, piece)
			},
			"done": func(rt *rapid.T) {
				piece := drawPiece()
				others := p.Done(piece)
				want := m.asked[piece]
				slices.Sort(others)
				want = slices.Sorted(slices.Values(want))
				if !slices.Equal(others, want) {
					rt.Fatalf("Done(%d) = %v, want %v", piece, others, want)
				}
				delete(m.asked, piece)
				delete(m.missing, piece)
			},
			"": func(rt *rapid.T) {
				if p.Missing() != len(m.missing) {
					rt.Fatalf("Missing = %d, want %d", p.Missing(), len(m.missing))
				}
				free := 0
				for i := range m.missing {
					if m.free(i) && m.rarity(i) > 0 {
						free++
					}
				}
				if want := len(m.missing) > 0 && free == 0; p.Endgame() != want {
					rt.Fatalf("Endgame = %v with %d free pieces to be had", !want, free)
				}
				for peer := range Peer(6) {
					want := false
					for i := range m.has[peer] {
						want = want || m.missing[i]
					}
					if p.Wants(peer) != want {
						rt.Fatalf("Wants(%d) = %v", peer, !want)
					}
				}
				single := 0
				for _, peers := range m.asked {
					if len(peers) == 1 {
						single++
					}
				}
				if p.single != single {
					rt.Fatalf("%d pieces are asked of one peer, want %d", p.single, single)
				}
				checkRanking(rt, p)
			},
		})
	})
}

// checkRanking looks at what no method shows: the ranking's own order.
func checkRanking(rt *rapid.T, p *Picker) {
	if p.rank == nil {
		return
	}
	if got, want := p.rank.len(), int(p.free.Count()); got != want {
		rt.Fatalf("%d pieces ranked, %d free", got, want)
	}
	start := 0
	for b, end := range p.rank.end {
		for i := start; i < end; i++ {
			piece := p.rank.order[i]
			if p.rank.at[piece] != uint32(i) || int(p.rank.count[piece])+p.rank.bias != b || !p.free.Test(uint(piece)) {
				rt.Fatalf("piece %d at %d is in bucket %d with count %d, bias %d", piece, i, b, p.rank.count[piece], p.rank.bias)
			}
		}
		start = end
	}
	if start != p.rank.len() {
		rt.Fatalf("buckets end at %d of %d", start, p.rank.len())
	}
}

// A simulation must be repeatable: the same events and the same source of
// randomness give the same choices, whatever a map's order is.
func TestSameSeedGivesTheSamePicks(t *testing.T) {
	play := func() (picks []int) {
		p := New(200, nil, newRand())
		for peer := range Peer(8) {
			has := bitset.New(200)
			for i := uint(peer); i < 200; i += 1 + uint(peer)%3 {
				has.Set(i)
			}
			p.Join(peer, has)
		}
		for step := 0; p.Missing() > 0; step++ {
			peer := Peer(step % 8)
			piece, ok := p.Pick(peer)
			if !ok {
				piece = -1
			}
			picks = append(picks, piece)
			switch {
			case step%23 == 22:
				p.Leave(peer)
				p.Join(peer, full(200))
			case ok && step%5 != 0:
				p.Done(piece)
			case ok && step%10 == 0:
				p.Failed(peer, piece)
			}
		}
		return picks
	}
	first := play()
	for range 5 {
		if !slices.Equal(play(), first) {
			t.Fatal("two runs differ")
		}
	}
}

// In a torrent too large to be searched whole, a peer that has none of the
// rarest pieces still gets one of its own, and a rare one.
func TestLargeTorrentIsSampledForPeersWithoutTheRarest(t *testing.T) {
	const pieces = 100_000
	p := New(pieces, nil, newRand())
	p.Join(1, bitset.New(pieces).FlipRange(0, 40_000))
	p.Join(2, bitset.New(pieces).FlipRange(40_000, 80_000))
	p.Join(3, bitset.New(pieces).FlipRange(40_000, 60_000))
	p.Join(4, bitset.New(pieces).FlipRange(40_000, 59_000))
	seen := map[int]bool{}
	for range 2_000 {
		piece, ok := p.Pick(3)
		if !ok || piece < 40_000 || piece >= 60_000 || seen[piece] {
			t.Fatalf("picked %d, %v, seen %v", piece, ok, seen[piece])
		}
		seen[piece] = true
	}
}

// Peers come, go, gain, lose, fail and come back in any order; as long as each
// piece is with somebody in the end, the download ends.
func TestEveryDownloadEndsUnderAnyScheduleOfJoinsLeavesAndFailures(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const peers = 5
		n := rapid.IntRange(1, 100).Draw(rt, "pieces")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		p := New(n, nil, rng)
		type ask struct {
			peer  Peer
			piece int
		}
		var open []ask
		here := map[Peer]*bitset.BitSet{}
		leave := func(peer Peer) {
			p.Leave(peer)
			delete(here, peer)
			open = slices.DeleteFunc(open, func(a ask) bool { return a.peer == peer })
		}
		join := func(peer Peer, has *bitset.BitSet) {
			leave(peer)
			p.Join(peer, has)
			here[peer] = has
		}
		turbulence := rapid.IntRange(0, 20*n).Draw(rt, "turbulence")
		for steps := 0; p.Missing() > 0; steps++ {
			if steps == turbulence {
				join(0, full(n)) // who stays
			}
			if steps > turbulence+1000*n {
				rt.Fatalf("%d pieces are still missing", p.Missing())
			}
			peer := Peer(rng.IntN(peers))
			if steps < turbulence || peer != 0 {
				has, piece := here[peer], rng.IntN(n)
				switch k := rng.IntN(40); {
				case k == 0:
					leave(peer)
				case k < 3:
					has = bitset.New(uint(n))
					for i := range n {
						has.SetTo(uint(i), rng.IntN(2) == 0)
					}
					join(peer, has)
				case k < 10 && has != nil:
					p.Have(peer, piece)
					has.Set(uint(piece))
				case k < 12 && has != nil:
					p.Withdraw(peer, piece)
					has.Clear(uint(piece))
				}
			}
			if piece, ok := p.Pick(peer); ok {
				if !here[peer].Test(uint(piece)) {
					rt.Fatalf("piece %d was picked of a peer that lacks it", piece)
				}
				others := 0
				for _, a := range open {
					if a.piece == piece {
						others++
					}
					if a == (ask{peer, piece}) {
						rt.Fatalf("piece %d was picked of peer %d twice", piece, peer)
					}
				}
				if others >= maxAsked || others > 0 && !p.Endgame() {
					rt.Fatalf("piece %d was picked %d times more, endgame %t", piece, others, p.Endgame())
				}
				open = append(open, ask{peer, piece})
			}
			if len(open) == 0 || rng.IntN(3) == 0 {
				continue
			}
			a := open[rng.IntN(len(open))]
			if rng.IntN(3) == 0 {
				p.Failed(a.peer, a.piece)
				open = slices.DeleteFunc(open, func(b ask) bool { return b == a })
				continue
			}
			for _, other := range p.Done(a.piece) {
				if !slices.Contains(open, ask{other, a.piece}) {
					rt.Fatalf("peer %d is to be cancelled for piece %d, which it was not asked for", other, a.piece)
				}
				open = slices.DeleteFunc(open, func(b ask) bool { return b == ask{other, a.piece} })
			}
			if i := slices.IndexFunc(open, func(b ask) bool { return b.piece == a.piece }); i >= 0 {
				rt.Fatalf("piece %d is done, and nobody says that it is asked of peer %d", a.piece, open[i].peer)
			}
		}
		if len(p.requested) > 0 || p.single != 0 {
			rt.Fatalf("%d requests are left when all is done", len(p.requested))
		}
	})
}

// Whatever peers do, a picker keeps as many buckets as there can be counts, and
// no request but for a missing piece.
func TestPickersMemoryFollowsPiecesAndPeers(t *testing.T) {
	const pieces, peers = 64, 20
	rng := newRand()
	p := New(pieces, nil, rng)
	for range 20_000 {
		peer := Peer(rng.IntN(peers))
		switch rng.IntN(6) {
		case 0:
			p.Leave(peer)
		case 1:
			p.Join(peer, full(pieces))
		case 2:
			p.Join(peer, bitset.From([]uint64{rng.Uint64()}))
		case 3:
			p.Have(peer, rng.IntN(2*pieces))
		case 4:
			p.Withdraw(peer, rng.IntN(2*pieces))
		case 5:
			p.Pick(peer)
		}
	}
	if n := len(p.rank.end); n > 8+4*peers {
		t.Errorf("%d buckets for %d peers", n, peers)
	}
	if n := len(p.requested); n > pieces {
		t.Errorf("%d requests for %d pieces", n, pieces)
	}
	if n := len(p.byPeer); n > peers || n != len(p.peers) {
		t.Errorf("%d and %d peers are known, want %d at most", n, len(p.peers), peers)
	}
	if n := len(p.rank.order); n > pieces {
		t.Errorf("%d pieces are ranked", n)
	}
}
