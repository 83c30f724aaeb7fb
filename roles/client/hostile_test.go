package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// attack is what one hostile peer does to a client, and what it is to be told.
type attack struct {
	name string
	do   func(v *villain) wire.Error
	want wire.Error
}

const (
	malformed = wire.Error_ERROR_BAD_REQUEST
	notHere   = wire.Error_ERROR_NOT_FOUND
	tooMany   = wire.Error_ERROR_TOO_MANY
	tooLate   = wire.Error_ERROR_TIMEOUT
	badPiece  = wire.Error_ERROR_BAD_PIECE
)

// mostGrowth is how many bytes more a client may need while one peer attacks it:
// what all its streams may leave unread over TCP, more than QUIC's window for the
// session, and the buffers of the pieces that were asked of the attacker.
const mostGrowth = peer.MaxStreams*transport.InitialCredit + 16*torrentfmt.PieceSize

// flood is how often an attacker does the same.
const flood = 100_000

// greeting says hello wrongly.
func greeting(spoil func(h *wire.Hello)) func(v *villain) wire.Error {
	return func(v *villain) wire.Error {
		h := v.hello()
		spoil(h)
		v.open(framed(v.t, h))
		return v.ended()
	}
}

// opening opens a stream with something.
func opening(said func(v *villain) []byte) func(v *villain) wire.Error {
	return func(v *villain) wire.Error {
		v.greet()
		return v.told(v.open(said(v)))
	}
}

// raw is opening with the same bytes, whatever the torrent.
func raw(said []byte) func(v *villain) wire.Error {
	return opening(func(*villain) []byte { return said })
}

// first is opening with one message.
func first(m func(v *villain) *wire.Open) func(v *villain) wire.Error {
	return opening(func(v *villain) []byte { return framed(v.t, m(v)) })
}

// telling says something on a link.
func telling(said []byte) func(v *villain) wire.Error {
	return func(v *villain) wire.Error {
		v.greet()
		st := v.link(lacks())
		v.say(st, said)
		return v.told(st)
	}
}

func event(t *testing.T, events ...*wire.PeerEvent) []byte {
	var b []byte
	for _, e := range events {
		b = append(b, framed(t, e)...)
	}
	return b
}

// bitfields are those that are none of a torrent of so many pieces.
var bitfields = map[string]*wire.Bitfield{
	"no bits":               {},
	"a byte too much":       {Bits: make([]byte, (pieces+7)/8+1)},
	"a spare bit":           {Bits: []byte{1 << (7 - pieces)}},
	"all spare bits":        {Bits: []byte{0xff}},
	"whole, and bits":       {Whole: true, Bits: []byte{0}},
	"a megabyte too much":   {Bits: make([]byte, 1<<20)},
	"as many as 4 GiB take": {Bits: make([]byte, 1024)},
}

var wrongTorrent = bytes.Repeat([]byte{7}, len(torrentfmt.ID{}))

// misuses are done with in one exchange.
func misuses(t *testing.T) []attack {
	list := []attack{
		{"hello of another version", greeting(func(h *wire.Hello) { h.Version++ }), wire.Error_ERROR_VERSION},
		{"hello of a tracker", greeting(func(h *wire.Hello) { h.Role = wire.Role_ROLE_TRACKER }), malformed},
		{"hello with half a node ID", greeting(func(h *wire.Hello) { h.NodeId = h.NodeId[:10] }), malformed},
		{"hello without an address", greeting(func(h *wire.Hello) { h.ListenAddr = "nowhere" }), malformed},
		{"hello over its limit", greeting(func(h *wire.Hello) { h.Agent = string(make([]byte, wire.MaxMessage)) }), malformed},
		{"hello with the victim's own ID", func(v *villain) wire.Error {
			return greeting(func(h *wire.Hello) { h.NodeId = v.victim.self.ID[:] })(v)
		}, malformed},
		{"noise for a hello", func(v *villain) wire.Error {
			v.open(bytes.Repeat([]byte{0xff}, 1000))
			return v.ended()
		}, malformed},

		{"stream for nothing", first(func(*villain) *wire.Open { return &wire.Open{} }), malformed},
		{"request for a tracker", first(func(*villain) *wire.Open {
			return &wire.Open{Kind: &wire.Open_Requests{Requests: &wire.Requests{}}}
		}), malformed},
		{"request of a tracker", first(func(*villain) *wire.Open {
			return &wire.Open{Kind: &wire.Open_Pull{Pull: &wire.Pull{}}}
		}), malformed},
		{"second hello", opening(func(v *villain) []byte { return framed(v.t, v.hello()) }), malformed},
		{"first message over its limit", raw(announced(wire.MaxOpen + 1)), malformed},
		{"first message of 16 EiB", raw(announced(math.MaxUint64)), malformed},
		{"length that does not end", raw(bytes.Repeat([]byte{0xff}, 20)), malformed},
		{"piece that nobody asked for", opening(func(v *villain) []byte { return v.x.data[:torrentfmt.PieceSize] }), malformed},

		{"link for another torrent", first(func(*villain) *wire.Open { return openTorrent(wrongTorrent) }), notHere},
		{"piece of another torrent", first(func(*villain) *wire.Open { return openPiece(wrongTorrent, 0) }), notHere},
		{"link for half an ID", first(func(v *villain) *wire.Open { return openTorrent(v.x.id[:10]) }), malformed},
		{"piece of half an ID", first(func(v *villain) *wire.Open { return openPiece(v.x.id[:10], 0) }), malformed},
		{"first piece that does not exist", first(func(v *villain) *wire.Open { return openPiece(v.x.id[:], pieces) }), malformed},
		{"last piece that does not exist", first(func(v *villain) *wire.Open { return openPiece(v.x.id[:], math.MaxUint32) }), malformed},
		{"second link", func(v *villain) wire.Error {
			v.greet()
			v.link(lacks())
			return v.told(v.open(append(v.torrent(), framed(v.t, lacks())...)))
		}, wire.Error_ERROR_DUPLICATE},

		{"first piece had that does not exist", telling(event(t, have(0, pieces))), malformed},
		{"last piece had that does not exist", telling(event(t, have(math.MaxUint32))), malformed},
		{"piece withdrawn that does not exist", telling(event(t, withdraw(pieces))), malformed},
		{"far more pieces had than exist", telling(event(t, have(make([]uint32, 10_000)...))), malformed},
		{"news over its limit", telling(announced(wire.MaxMessage + 1)), malformed},
		{"noise for news", telling(bytes.Repeat([]byte{3, 0xff, 0xff, 0xff}, 1000)), malformed},
		{"end within news", func(v *villain) wire.Error {
			v.greet()
			st := v.link(lacks())
			if err := transport.WriteLast(st, announced(100)); err != nil {
				v.t.Fatal(err)
			}
			return v.told(st)
		}, malformed},
	}
	for what, bits := range bitfields {
		list = append(list,
			attack{"bitfield with " + what, func(v *villain) wire.Error {
				v.greet()
				return v.told(v.open(append(v.torrent(), framed(v.t, bits)...)))
			}, malformed},
			attack{"bitfield in answer with " + what, func(v *villain) wire.Error {
				v.greet()
				st := v.linked()
				v.say(st, framed(v.t, bits))
				return v.told(st)
			}, malformed})
	}
	return list
}

// floods are repeated until the victim has had enough.
func floods(t *testing.T) []attack {
	// over opens streams and leaves them alone, until the session ends.
	over := func(said func(v *villain) []byte) func(v *villain) wire.Error {
		return func(v *villain) wire.Error {
			v.greet()
			b := said(v)
			for i := range flood {
				st, err := v.sess.Open(v.t.Context())
				if err == nil {
					_, err = st.Write(b)
				}
				var ended *transport.SessionError
				if errors.As(err, &ended) {
					break
				}
				if i == flood/100 {
					v.sample()
				}
			}
			return v.ended()
		}
	}
	// news goes on and on over a link.
	news := func(said []byte) func(v *villain) wire.Error {
		return func(v *villain) wire.Error {
			v.greet()
			st := v.link(lacks())
			for i := range flood {
				if _, err := st.Write(said); err != nil {
					break
				}
				if i == flood/100 {
					v.sample()
				}
			}
			return v.ended()
		}
	}
	many := make([]uint32, 8000)
	return []attack{
		{"requests that are never read", over(func(v *villain) []byte { return framed(v.t, openPiece(v.x.id[:], 1)) }), tooMany},
		{"streams without a word", over(func(*villain) []byte { return announced(100) }), tooMany},
		{"malformed streams one by one", func(v *villain) wire.Error {
			v.greet()
			for range flood {
				st, err := v.sess.Open(v.t.Context())
				if err != nil {
					break
				}
				v.say(st, announced(wire.MaxOpen+1))
				_, _ = io.Copy(io.Discard, st)
			}
			return v.ended()
		}, malformed},
		{"have of one piece", news(event(t, have(1))), tooMany},
		{"have of a piece 8,000 times at once", news(event(t, have(many...))), tooMany},
		{"have and withdraw in turn", news(event(t, have(1), withdraw(1))), tooMany},
		{"news of nothing", news(event(t, &wire.PeerEvent{})), tooMany},
		{"100 idle streams, and more than are allowed", func(v *villain) wire.Error {
			v.greet()
			var st transport.Stream
			for range 100 {
				st = v.open(announced(100))
			}
			// There is room for somebody's proper request.
			if code := v.told(v.open(framed(v.t, openPiece(wrongTorrent, 0)))); code != notHere {
				v.t.Errorf("a request beside 100 idle streams: told %v", code)
			}
			for range peer.MaxStreams - 100 + 10 {
				st = v.open(announced(100))
			}
			v.sample()
			return v.told(st)
		}, tooMany},
		{"bytes that nobody asked for behind 100 requests", func(v *villain) wire.Error {
			v.greet()
			said := framed(v.t, openPiece(v.x.id[:], 1))
			said = append(said, make([]byte, transport.InitialCredit-len(said))...)
			for range 100 {
				st := v.open(nil)
				if err := st.SetDeadline(time.Now().Add(time.Second)); err != nil {
					v.t.Fatal(err)
				}
				if _, err := st.Write(said); errors.Is(err, os.ErrDeadlineExceeded) {
					break // the victim lets no more come
				}
			}
			v.sample()
			_ = v.sess.Close()
			return tooMany // there is nothing to be told
		}, tooMany},
	}
}

func TestMisuseIsRefusedWithACodeAndHarmsNobody(t *testing.T) {
	overEach(t, func(t *testing.T, network carrier) {
		c := newCrowd(t, network)
		c.begin(t)
		for _, a := range misuses(t) {
			t.Run(a.name, func(t *testing.T) { c.suffer(t, a) })
		}
		c.finish(t)
	})
}

func TestFloodsAreBoundedAndHarmNobody(t *testing.T) {
	overEach(t, func(t *testing.T, network carrier) {
		c := newCrowd(t, network)
		for _, a := range floods(t) {
			t.Run(a.name, func(t *testing.T) {
				c.begin(t)
				c.suffer(t, a)
				c.finish(t)
			})
		}
	})
}

// suffer lets a villain attack the victim's download, and another its upload.
func (c *crowd) suffer(t *testing.T, a attack) {
	t.Helper()
	for what, x := range map[string]*transfer{"download": c.wanted, "upload": c.given} {
		before, files, sessions := memory(), descriptors(), c.sessions()
		v := c.stranger(t, x)
		if got := a.do(v); got != a.want {
			t.Errorf("against the %s: told %v, want %v", what, got, a.want)
		}
		v.sample()
		if grown := v.most - before; grown > mostGrowth {
			t.Errorf("against the %s: %d KiB more memory in use, want at most %d", what, grown>>10, mostGrowth>>10)
		}
		_ = v.sess.Close()
		eventually(t, "end of the villain's session", func() bool { return c.sessions() == sessions })
		eventually(t, "return of descriptors", func() bool { return descriptors() <= files })
	}
}

func TestABadPieceIsDroppedItsSenderBannedAndNamed(t *testing.T) {
	for what, answer := range map[string]func(right []byte) []byte{
		"wrong":     func(right []byte) []byte { return make([]byte, len(right)) },
		"too short": func(right []byte) []byte { return right[:len(right)-1] },
		"empty":     func([]byte) []byte { return nil },
		"too long":  func(right []byte) []byte { return append(bytes.Clone(right), 0) },
		"twice":     func(right []byte) []byte { return append(bytes.Clone(right), right...) },
	} {
		t.Run(what, func(t *testing.T) {
			overEach(t, func(t *testing.T, network carrier) {
				c := newCrowd(t, network)
				c.begin(t)
				c.suffer(t, attack{what, func(v *villain) wire.Error {
					v.greet()
					v.x = c.wanted // nobody asks for pieces of what he has
					st := v.link(&wire.Bitfield{Whole: true})
					served := make(chan struct{})
					go func() { defer close(served); v.serve(answer) }()
					code := v.told(st)
					eventually(t, "end of the link", func() bool { return len(v.conn().Torrents()) == 0 })
					// Neither over this session nor over another one.
					if again := v.told(v.open(append(v.torrent(), framed(t, &wire.Bitfield{Whole: true})...))); again != badPiece {
						t.Errorf("linked again: told %v, want %v", again, badPiece)
					}
					if c.log.line("banned", "piece=", fmt.Sprintf("peer=%q", v.tr.Scheme+" "+v.addr.String())) == "" {
						t.Errorf("no line of the log names %s", v.addr)
					}
					_ = v.sess.Close()
					await(t, served, "end of the serving")
					return code
				}, badPiece})
				c.finish(t)
			})
		})
	}
}

func await[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
	}
}
