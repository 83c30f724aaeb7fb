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

// In a swarm of partial peers that pass pieces on, every download ends: no
// interleaving of failures and departures may strand a piece.
func TestEveryDownloadEndsWhileSomeoneHasEachPiece(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 100).Draw(rt, "pieces")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		p := New(n, nil, rng)
		p.Join(0, full(n))
		for peer := Peer(1); peer < 5; peer++ {
			b, _ := drawBits(rt, n)
			p.Join(peer, b)
		}
		type ask struct {
			peer  Peer
			piece int
		}
		var open []ask
		for steps := 0; p.Missing() > 0; steps++ {
			if steps > 1000*n {
				rt.Fatalf("%d pieces still missing", p.Missing())
			}
			peer := Peer(rng.IntN(5))
			if piece, ok := p.Pick(peer); ok {
				open = append(open, ask{peer, piece})
			}
			if len(open) == 0 {
				continue
			}
			k := rng.IntN(len(open))
			a := open[k]
			if rng.IntN(3) == 0 {
				p.Failed(a.peer, a.piece)
				open = slices.Delete(open, k, k+1)
				continue
			}
			p.Done(a.piece)
			open = slices.DeleteFunc(open, func(b ask) bool { return b.piece == a.piece })
		}
	})
}
