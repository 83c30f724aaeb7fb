package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func TestAPieceIsFetchedInEitherDirection(t *testing.T) {
	sa, sb := newSwarm(t, 9, 0), newSwarm(t, 9, 1, 8)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		link  *Link
		from  *swarm
		piece int
	}{
		{await(t, sa.joined, "join").link, sb, 8},
		{await(t, sb.joined, "join").link, sa, 0},
	} {
		buf := make([]byte, 1000)
		if err := c.link.Fetch(t.Context(), c.piece, buf); err != nil {
			t.Fatal(err)
		}
		if want := bytes.Repeat([]byte{byte(c.piece)}, 1000); !bytes.Equal(buf, want) {
			t.Errorf("piece %d is not what the peer has", c.piece)
		}
		if n := await(t, c.from.served, "count of what was sent"); n != 1000 {
			t.Errorf("%d bytes counted as sent, want 1000", n)
		}
	}
}

func TestAPieceThatIsNotThereIsRefusedWithACode(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	link := await(t, sa.joined, "join").link
	if err := link.Fetch(t.Context(), 2, make([]byte, 1000)); !errors.Is(err, ErrNotHere) {
		t.Errorf("a piece that the peer lacks: %v, want ErrNotHere", err)
	}
	var refused *wire.CodeError
	if err := link.Fetch(t.Context(), 9, make([]byte, 1000)); !errors.As(err, &refused) || refused.Code != wire.Error_ERROR_BAD_REQUEST {
		t.Errorf("a piece out of range: %v, want ERROR_BAD_REQUEST", err)
	}
}

func TestAShortPieceIsNeverTakenForAWholeOne(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	link := await(t, sa.joined, "join").link
	if err := link.Fetch(t.Context(), 1, make([]byte, 1001)); !errors.Is(err, ErrLength) {
		t.Errorf("got %v, want ErrLength", err)
	}
}

func TestACancelledFetchEndsAtOnce(t *testing.T) {
	sa, sb := sessions(t)
	ctx, cancel := context.WithCancel(t.Context())
	greeted := make(chan error, 1)
	go func() {
		// A peer that says hello and then never answers.
		st, err := sb.Accept(ctx)
		if err == nil {
			_, err = wire.ReadHello(st)
		}
		if err == nil {
			err = say(st, self(2).hello())
		}
		greeted <- err
	}()
	c, err := Dial(ctx, sa, self(1), host{})
	if err := errors.Join(err, await(t, greeted, "hello")); err != nil {
		t.Fatal(err)
	}
	link := c.newLink(testID, newSwarm(t, 9), true)
	fetched := make(chan error, 1)
	go func() { fetched <- link.Fetch(ctx, 1, make([]byte, 1000)) }()
	if _, err := sb.Accept(t.Context()); err != nil { // the request is there
		t.Fatal(err)
	}
	cancel()
	if err := await(t, fetched, "end of the fetch"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestAFileCutUnderTheSeederIsRefusedNotCutShort(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 7)
	if err := os.Truncate(sb.file.Name(), 7500); err != nil {
		t.Fatal(err)
	}
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	err := await(t, sa.joined, "join").link.Fetch(t.Context(), 7, make([]byte, 1000))
	if !errors.Is(err, ErrNotHere) {
		t.Errorf("got %v, want ErrNotHere", err)
	}
}

// spoilt is a torrent whose file is changed while a piece of it is sent: the piece
// is there when it is asked for, and no longer when it has been read.
type spoilt struct {
	*swarm
	asked *atomic.Int64
}

func (s spoilt) Section(piece int) (*io.SectionReader, error) {
	if s.asked.Add(1) > 1 {
		return nil, errors.New("changed")
	}
	return s.swarm.Section(piece)
}

func TestAPieceThatIsChangedWhileItIsSentIsTakenBack(t *testing.T) {
	for what, cut := range map[string]int64{"changed": 9000, "cut": 7500} {
		t.Run(what, func(t *testing.T) {
			sa, sb := newSwarm(t, 9), newSwarm(t, 9, 7)
			if err := os.Truncate(sb.file.Name(), cut); err != nil {
				t.Fatal(err)
			}
			asked := new(atomic.Int64)
			a, _ := pair(t, sa, spoilt{sb, asked})
			if err := a.Join(testID, sa); err != nil {
				t.Fatal(err)
			}
			err := await(t, sa.joined, "join").link.Fetch(t.Context(), 7, make([]byte, 1000))
			if !errors.Is(err, ErrNotHere) {
				t.Errorf("got %v, want ErrNotHere: the peer has not lied", err)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("the file was looked at %d times, want 2: what is gone is withdrawn", n)
			}
		})
	}
}

// died is a stream whose connection ends without a word, inside a piece.
type died struct{ transport.Stream }

func (died) ReadFull([]byte) (int, error) {
	return 10, &transport.SessionError{Err: io.ErrUnexpectedEOF}
}
func (died) SetDeadline(time.Time) error { return nil }

func TestAPeerThatDiesInsideAPieceIsNoLiar(t *testing.T) {
	if _, err := fill(died{}, make([]byte, 100)); err == nil || errors.Is(err, ErrLength) {
		t.Errorf("got %v, want the session's error", err)
	}
}

// dripper sends a byte now and then.
type dripper struct{ transport.Stream }

func (dripper) ReadFull([]byte) (int, error) { return 1, os.ErrDeadlineExceeded }
func (dripper) SetDeadline(time.Time) error  { return nil }

func TestAPeerThatDripsIsStalled(t *testing.T) {
	if _, err := fill(dripper{}, make([]byte, 1<<20)); !errors.Is(err, ErrStalled) {
		t.Errorf("got %v, want ErrStalled", err)
	}
}

// sender records what it is asked to send from.
type sender struct {
	transport.Stream
	from io.Reader
}

func (s *sender) ReadFrom(r io.Reader) (int64, error) {
	s.from = r
	return io.Copy(io.Discard, r)
}
func (*sender) SetDeadline(time.Time) error { return nil }
func (*sender) CloseWrite() error           { return nil }

func TestAPieceIsHandedToTheTransportAsASectionOfItsFile(t *testing.T) {
	local := newSwarm(t, 9, 4)
	sess, _ := sessions(t)
	c := &Conn{sess: sess, host: host{testID, local}}
	st := &sender{}
	if err := c.serve(t.Context(), st, &wire.Piece{TorrentId: testID[:], Index: 4}); err != nil {
		t.Fatal(err)
	}
	section, ok := st.from.(*io.SectionReader)
	if !ok {
		t.Fatalf("sent from a %T: sendfile(2) is lost", st.from)
	}
	if file, _, _ := section.Outer(); file != io.ReaderAt(local.file) {
		t.Errorf("a section of %T: sendfile(2) is lost", file)
	}
}

// vast is a torrent whose pieces are longer than a stream's credit.
type vast struct{ *swarm }

func (vast) Section(int) (*io.SectionReader, error) {
	return io.NewSectionReader(bytes.NewReader(make([]byte, 4*transport.InitialCredit)), 0, 4*transport.InitialCredit), nil
}

func TestAPeerThatDoesNotTakeItsPieceIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, nil, vast{newSwarm(t, 9, 1)})
		st, err := a.sess.Open(t.Context())
		if err == nil {
			err = wire.Write(st, &wire.Open{Kind: &wire.Open_Piece{Piece: &wire.Piece{TorrentId: testID[:], Index: 1}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(takeTimeout + time.Second) //nolint:forbidigo // virtual time
		toldTimeout(t, st)
	})
}

// pusher sends more than was asked for.
type pusher struct{ transport.Stream }

func (pusher) Read(p []byte) (int, error) { return 1, nil }

func TestBytesBehindAPieceAreNotPartOfIt(t *testing.T) {
	if err := ended(pusher{}); !errors.Is(err, ErrLength) {
		t.Errorf("got %v, want ErrLength", err)
	}
}
