package client

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// drip says something byte by byte, for as long as it is taken.
func (v *villain) drip(st transport.Stream, said []byte) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range said {
		if _, err := st.Write([]byte{b}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-v.sess.Done():
			return
		}
	}
}

// dialled has the victim dial the villain, who is silent at first.
func (v *villain) dialled() {
	v.t.Helper()
	l, err := v.tr.Listen(v.t.Context(), "127.0.0.1:0")
	if err != nil {
		v.t.Fatal(err)
	}
	defer l.Close()
	_ = v.sess.Close()
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		v.t.Fatal(err)
	}
	v.victim.peers.reach(at, peer.ID{}, v.x.id)
	if v.sess, err = l.Accept(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = v.sess.Close() })
}

// silences are the attacks of those who say nothing, or a little now and then,
// or nothing more.
func silences() []attack {
	half := func(said []byte) []byte { return said[:len(said)/2] }
	return []attack{
		{"silence for a hello", func(v *villain) wire.Error { return v.ended() }, tooLate},
		{"half a hello", func(v *villain) wire.Error {
			v.open(half(framed(v.t, v.hello())))
			return v.ended()
		}, tooLate},
		{"a hello byte by byte", func(v *villain) wire.Error {
			v.drip(v.open(nil), framed(v.t, v.hello()))
			return v.ended()
		}, tooLate},
		{"silence for a hello in answer", func(v *villain) wire.Error {
			v.dialled()
			return v.ended()
		}, tooLate},
		{"half a hello in answer", func(v *villain) wire.Error {
			v.dialled()
			st, err := v.sess.Accept(v.t.Context())
			if err != nil {
				v.t.Fatal(err)
			}
			v.say(st, half(framed(v.t, v.hello())))
			return v.ended()
		}, tooLate},
		{"half a first message", opening(func(v *villain) []byte { return half(v.torrent()) }), tooLate},
		{"a first message byte by byte", func(v *villain) wire.Error {
			v.greet()
			st := v.open(nil)
			v.drip(st, v.torrent()[:23])
			return v.told(st)
		}, tooLate},
		{"a link without a bitfield", opening((*villain).torrent), tooLate},
		{"half a bitfield", opening(func(v *villain) []byte {
			return append(v.torrent(), half(framed(v.t, lacks()))...)
		}), tooLate},
		{"silence for a bitfield in answer", func(v *villain) wire.Error {
			v.greet()
			return v.told(v.linked())
		}, tooLate},
		{"a piece byte by byte", func(v *villain) wire.Error {
			v.greet()
			v.x = v.wanted
			v.link(&wire.Bitfield{Whole: true})
			st, open := v.accept()
			for open.GetPiece().GetIndex() == pieces-1 { // which is a few bytes long
				st, open = v.accept()
			}
			v.drip(st, make([]byte, torrentfmt.PieceSize))
			_, err := st.Write([]byte{0})
			return v.code(err)
		}, tooLate},
	}
}

// All at once, since each of them takes as long as the victim waits.
func TestTheSilentAreLetGoAndHarmNobody(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, network carrier) {
		t.Parallel()
		c := newCrowd(t, network)
		c.begin(t)
		sessions := c.sessions()
		var all []*villain
		t.Run("at once", func(t *testing.T) {
			for _, a := range silences() {
				for what, x := range map[string]*transfer{"download": c.wanted, "upload": c.given} {
					v := c.stranger(t, x)
					all = append(all, v)
					t.Run(a.name+" against the "+what, func(t *testing.T) {
						t.Parallel()
						v.t = t
						if got := a.do(v); got != a.want {
							t.Errorf("told %v, want %v", got, a.want)
						}
					})
				}
			}
		})
		for _, v := range all {
			_ = v.sess.Close()
		}
		eventually(t, "end of the villains' sessions", func() bool { return c.sessions() == sessions })
		c.finish(t)
	})
}

func TestRequestsOverASocketThatIsNeverReadEndIt(t *testing.T) {
	c := newCrowd(t, overTCP)
	c.begin(t)
	before := memory()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", c.victim.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	v := &villain{crowd: c, t: t, node: identity.Ephemeral(), addr: local(1)}
	frame := func(stream uint64, payload []byte) []byte {
		b := []byte{1, 1 | 2, 0, 0} // data, which opens the stream and ends this direction
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
		b = binary.BigEndian.AppendUint64(b, stream)
		return append(b, payload...)
	}
	said := append([]byte("\xffmtmux\x00\x01"), frame(1, framed(t, v.hello()))...)
	request := framed(t, openPiece(c.given.id[:], 1))
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for ; err == nil; n++ { // the victim drops what comes behind the end for a while
		if said = append(said, frame(3+2*n, request)...); len(said) > 60<<10 {
			_, err = conn.Write(said)
			said = said[:0]
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d requests were taken: %v", n, err)
	}
	if grown := memory() - before; grown > mostGrowth {
		t.Errorf("%d KiB more memory in use, want at most %d", grown>>10, mostGrowth>>10)
	}
	eventually(t, "end of the villain's session", func() bool { return c.sessions() <= 2 })
	c.finish(t)
}
