package client

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// villain speaks the protocol to the victim, word by word, and wrong where its
// script says so.
type villain struct {
	*crowd
	t    *testing.T
	x    *transfer // what it is after
	node *identity.Credentials
	tr   transport.Transport
	sess transport.Session
	addr netip.AddrPort // where it says that it listens

	most int64 // memory of the samples
}

// stranger dials the victim and says nothing yet.
func (c *crowd) stranger(t *testing.T, x *transfer) *villain {
	t.Helper()
	v := &villain{crowd: c, t: t, x: x, node: identity.Ephemeral(), addr: local(1000 + uint16(villains.Add(1)))}
	var err error
	if v.tr, err = c.network(v.node); err != nil {
		t.Fatal(err)
	}
	if v.sess, err = v.tr.Dial(t.Context(), c.victim.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.sess.Close() })
	return v
}

// villains numbers them.
var villains atomic.Uint32

func (v *villain) hello() *wire.Hello {
	id := v.node.ID()
	return &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: id[:], ListenAddr: v.addr.String()}
}

// greet exchanges hellos.
func (v *villain) greet() {
	v.t.Helper()
	st, err := v.sess.Open(v.t.Context())
	if err == nil {
		err = transport.WriteLast(st, framed(v.t, v.hello()))
	}
	if err != nil {
		v.t.Fatal(err)
	}
	if _, err := wire.ReadHello(st); err != nil {
		v.t.Fatal(err)
	}
	_ = st.Close()
	eventually(v.t, "session at the victim", func() bool { return v.conn() != nil })
}

// open opens a stream and says something.
func (v *villain) open(said []byte) transport.Stream {
	v.t.Helper()
	st, err := v.sess.Open(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	v.say(st, said)
	return st
}

// say writes to the victim, which may have closed already: told says so.
func (v *villain) say(st transport.Stream, said []byte) { _, _ = st.Write(said) }

// link opens a link to the victim and returns it once that has answered.
func (v *villain) link(bits *wire.Bitfield) transport.Stream {
	v.t.Helper()
	st := v.open(append(v.torrent(), framed(v.t, bits)...))
	if err := wire.NewReader(st).Next(new(wire.Bitfield), 1<<10); err != nil {
		v.t.Fatalf("the victim does not answer the link: %v", err)
	}
	return st
}

// linked has the victim open a link, and returns it with what the victim said
// taken off.
func (v *villain) linked() transport.Stream {
	v.t.Helper()
	v.victim.peers.reach(v.addr, peer.ID{}, v.x.id)
	st, open := v.accept()
	if open.GetTorrent() == nil {
		v.t.Fatalf("the victim opened a stream for %v, want a link", open)
	}
	return st
}

// accept takes the next stream that the victim opens.
func (v *villain) accept() (transport.Stream, *wire.Open) {
	v.t.Helper()
	st, err := v.sess.Accept(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	open := new(wire.Open)
	if err := wire.NewReader(st).Next(open, wire.MaxOpen); err != nil {
		v.t.Fatal(err)
	}
	return st, open
}

// serve answers every request of the victim for a piece with what answer makes
// of the right bytes, until the session ends.
func (v *villain) serve(answer func(right []byte) []byte) {
	for {
		st, err := v.sess.Accept(v.t.Context())
		if err != nil {
			return
		}
		open := new(wire.Open)
		if wire.NewReader(st).Next(open, wire.MaxOpen) == nil && open.GetPiece() != nil {
			from := int(open.GetPiece().GetIndex()) * torrentfmt.PieceSize
			right := v.x.data[from:min(from+torrentfmt.PieceSize, len(v.x.data))]
			_ = transport.WriteLast(st, answer(right))
		}
		_ = st.Close()
	}
}

// told is the code with which the victim ends a stream.
func (v *villain) told(st transport.Stream) wire.Error {
	_, err := io.Copy(io.Discard, st)
	return v.code(err)
}

// ended is the code with which the victim ends the session.
func (v *villain) ended() wire.Error {
	v.t.Helper()
	await(v.t, v.sess.Done(), "end of the session")
	return v.code(v.sess.Err())
}

// code is what an error of a stream or a session says.
func (v *villain) code(err error) wire.Error {
	var abort *transport.AbortError
	var ended *transport.SessionError
	switch {
	case errors.As(err, &abort) && abort.Remote:
		return wire.Error(abort.Code)
	case errors.As(err, &ended) && ended.Remote:
		return wire.Error(ended.Code)
	}
	v.t.Errorf("the victim ends it without a code: %v", err)
	return wire.Error_ERROR_NONE
}

// sample measures what the process holds at the height of an attack.
func (v *villain) sample() {
	v.most = max(v.most, memory())
}

// conn is the villain's session at the victim; nil if there is none.
func (v *villain) conn() *peer.Conn {
	v.victim.peers.mu.Lock()
	defer v.victim.peers.mu.Unlock()
	return v.victim.peers.byAddr[v.addr]
}

func (v *villain) torrent() []byte { return framed(v.t, openTorrent(v.x.id[:])) }

// lacks is a bitfield without a piece.
func lacks() *wire.Bitfield { return &wire.Bitfield{Bits: make([]byte, (pieces+7)/8)} }

func openTorrent(id []byte) *wire.Open {
	return &wire.Open{Kind: &wire.Open_Torrent{Torrent: &wire.Torrent{TorrentId: id}}}
}

func openPiece(id []byte, index uint32) *wire.Open {
	return &wire.Open{Kind: &wire.Open_Piece{Piece: &wire.Piece{TorrentId: id, Index: index}}}
}

func have(pieces ...uint32) *wire.PeerEvent {
	return &wire.PeerEvent{Kind: &wire.PeerEvent_Have{Have: &wire.Have{Pieces: pieces}}}
}

func withdraw(pieces ...uint32) *wire.PeerEvent {
	return &wire.PeerEvent{Kind: &wire.PeerEvent_Withdraw{Withdraw: &wire.Withdraw{Pieces: pieces}}}
}

// framed are messages as they go over a stream.
func framed(t *testing.T, messages ...proto.Message) []byte {
	t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = wire.Append(b, m); err != nil {
			t.Fatal(err)
		}
	}
	return slices.Clip(b)
}

// announced is a message of so many bytes of which nothing has come.
func announced(size uint64) []byte { return protowire.AppendVarint(nil, size) }
