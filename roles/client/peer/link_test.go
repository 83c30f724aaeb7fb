package peer

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func TestALinkTellsBothSidesWhatTheOtherHasAndGets(t *testing.T) {
	sa, sb := newSwarm(t, 9, 0), newSwarm(t, 9, 1, 8)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	atA, atB := await(t, sa.joined, "join at the dialler"), await(t, sb.joined, "join at the acceptor")
	if got := atA.theirs.String(); got != "{1,8}" {
		t.Errorf("the dialler hears %s, want {1,8}", got)
	}
	if got := atB.theirs.String(); got != "{0}" {
		t.Errorf("the acceptor hears %s, want {0}", got)
	}
	atA.link.Have(3, 4)
	var heard []uint32
	for len(heard) < 2 {
		heard = append(heard, await(t, sb.gained, "have")...)
	}
	if !slices.Equal(heard, []uint32{3, 4}) {
		t.Errorf("the acceptor hears of %v, want 3 and 4", heard)
	}
	atB.link.Withdraw(8)
	if got := await(t, sa.lost, "withdrawal"); !slices.Equal(got, []uint32{8}) {
		t.Errorf("the dialler hears that %v are gone, want 8", got)
	}
	atB.link.Bye()
	if await(t, sa.gone, "end of the link at the dialler") != atA.link || await(t, sb.gone, "end at the acceptor") != atB.link {
		t.Error("another link has ended")
	}
}

func TestAnUnknownTorrentIsRefused(t *testing.T) {
	sa := newSwarm(t, 9)
	a, b := pair(t, sa, nil)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	waitNoLinks(t, a)
	if n := len(b.Torrents()); n != 0 {
		t.Errorf("%d links at the acceptor", n)
	}
}

func waitNoLinks(t *testing.T, c *Conn) {
	t.Helper()
	deadline := time.After(patience)
	for len(c.Torrents()) > 0 {
		select {
		case <-deadline:
			t.Fatal("the link stays")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestOfTwoLinksForATorrentOneStays(t *testing.T) {
	for range 20 {
		sa, sb := newSwarm(t, 9, 0), newSwarm(t, 9, 1)
		a, b := pair(t, sa, sb)
		both := make(chan error, 2)
		go func() { both <- a.Join(testID, sa) }()
		go func() { both <- b.Join(testID, sb) }()
		if err := errors.Join(await(t, both, "join"), await(t, both, "join")); err != nil {
			t.Fatal(err)
		}
		// The link that stays carries news; a loser may come and go first.
		live := await(t, sa.joined, "join at the dialler").link
		for heard := false; !heard; {
			live.Have(5)
			select {
			case <-sb.gained:
				heard = true
			case j := <-sa.joined:
				live = j.link
			case <-time.After(patience):
				t.Fatal("no link carries news")
			}
		}
		if na, nb := len(a.Torrents()), len(b.Torrents()); na != 1 || nb != 1 {
			t.Errorf("%d and %d links, want one at each side", na, nb)
		}
	}
}

func TestAPieceOutOfRangeEndsTheLink(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	await(t, sa.joined, "join").link.Have(9)
	await(t, sb.gone, "end of the link")
}

func TestWhenTheSessionEndsEveryLinkIsGone(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, b := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	await(t, sa.joined, "join")
	await(t, sb.joined, "join")
	b.Close(wire.Error_ERROR_GOING_AWAY)
	await(t, sa.gone, "end of the link at the dialler")
	await(t, sb.gone, "end of the link at the acceptor")
}

func TestAPeerThatDoesNotTakeTheNewsIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSwarm(t, 9, 1)
		a, _ := pair(t, nil, sb)
		st, err := a.sess.Open(t.Context())
		if err == nil {
			err = wire.Write(st, &wire.Open{Kind: &wire.Open_Torrent{Torrent: &wire.Torrent{TorrentId: testID[:]}}})
		}
		if err == nil {
			err = wire.Write(st, &wire.Bitfield{Bits: make([]byte, 2)})
		}
		if err != nil {
			t.Fatal(err)
		}
		link := await(t, sb.joined, "join").link
		link.Have(make([]uint32, 2*transport.InitialCredit)...)
		time.Sleep(newsTimeout + time.Second) //nolint:forbidigo // virtual time
		toldTimeout(t, st)
		await(t, sb.gone, "end of the link")
	})
}

func toldTimeout(t *testing.T, st transport.Stream) {
	t.Helper()
	_, err := io.Copy(io.Discard, st)
	var abort *transport.AbortError
	if !errors.As(err, &abort) || abort.Code != transport.Code(wire.Error_ERROR_TIMEOUT) {
		t.Errorf("got %v, want ERROR_TIMEOUT", err)
	}
}
