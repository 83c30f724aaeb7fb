package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/bits-and-blooms/bitset"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// messages is one of every message that a stream carries at its top level,
// with the limit that its reader sets.
func messages() []struct {
	m     proto.Message
	limit int64
} {
	return []struct {
		m     proto.Message
		limit int64
	}{
		{&Hello{Version: 1, Role: Role_ROLE_CLIENT, NodeId: make([]byte, NodeIDSize), ListenAddr: "127.0.0.1:7001"}, MaxMessage},
		{&Open{Kind: &Open_Piece{Piece: &Piece{TorrentId: make([]byte, 20), Index: 7}}}, MaxOpen},
		{&Open{Kind: &Open_Torrent{Torrent: &Torrent{TorrentId: make([]byte, 20)}}}, MaxOpen},
		{&Request{Kind: &Request_Announce{Announce: &Announce{TorrentId: make([]byte, 20), Want: 50}}, Addr: "127.0.0.1:7001"}, MaxMessage},
		{&Reply{Stamp: 9, Seeders: &SeederSet{Ipv4: make([]byte, 14), Total: 2}}, MaxMessage},
		{&Request{Kind: &Request_Probe{Probe: &Probe{DialBack: true}}, Addr: "127.0.0.1:7001"}, MaxMessage},
		{&Reply{Probed: &Probed{NodeId: make([]byte, NodeIDSize), Vector: make([]byte, 20), Links: []*ProbedLink{{Addr: "127.0.0.1:7000"}}, Dialled: []*DialledBack{{Scheme: "tcp"}}}}, MaxMessage},
		{&Bitfield{Bits: []byte{0x80}}, BitfieldLimit(8)},
		{&Bitfield{Whole: true}, BitfieldLimit(8)},
		{&PeerEvent{Kind: &PeerEvent_Have{Have: &Have{Pieces: []uint32{1, 2, 3}}}}, MaxMessage},
	}
}

func TestMessagesCrossAStreamInOneWriteEach(t *testing.T) {
	var stream bytes.Buffer
	w := writeCounter{w: &stream}
	for _, c := range messages() {
		if err := Write(&w, c.m); err != nil {
			t.Fatal(err)
		}
	}
	if w.n != len(messages()) {
		t.Errorf("%d writes for %d messages", w.n, len(messages()))
	}
	r := NewReader(&stream)
	for _, c := range messages() {
		got := c.m.ProtoReflect().New().Interface()
		if err := r.Next(got, c.limit); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, c.m) {
			t.Errorf("got %v, want %v", got, c.m)
		}
	}
	if err := r.Next(new(Hello), MaxMessage); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %v, want io.EOF", err)
	}
}

type writeCounter struct {
	w io.Writer
	n int
}

func (c *writeCounter) Write(p []byte) (int, error) { c.n++; return c.w.Write(p) }

func TestAnOverlongMessageIsRefusedBeforeItIsRead(t *testing.T) {
	// A length prefix of 2^40 with nothing behind it.
	r := NewReader(bytes.NewReader([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x20}))
	if err := r.Next(new(Hello), MaxMessage); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestACutMessageIsAnUnexpectedEnd(t *testing.T) {
	whole, err := Append(nil, &Hello{Version: 1, Agent: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(whole); n++ {
		if err := NewReader(bytes.NewReader(whole[:n])).Next(new(Hello), MaxMessage); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
}

func TestBitfieldsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "pieces")
		have := bitset.New(uint(n))
		for i := range n {
			have.SetTo(uint(i), rapid.Bool().Draw(t, "bit"))
		}
		packed := PackBitfield(have, n)
		if size := int64(proto.Size(packed)); size > BitfieldLimit(n) {
			t.Fatalf("%d pieces take %d bytes, over the limit of %d", n, size, BitfieldLimit(n))
		}
		got, err := packed.Unpack(n)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(have) {
			t.Fatalf("got %v, want %v", got, have)
		}
	})
}

func TestBitfieldIsWrittenAsBEP3Says(t *testing.T) {
	have := bitset.New(10).Set(0).Set(9)
	if got := PackBitfield(have, 10).Bits; !bytes.Equal(got, []byte{0x80, 0x40}) {
		t.Errorf("got %x, want 8040", got)
	}
}

func TestBadBitfieldsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		bits  *Bitfield
		count int
	}{
		"too short":          {&Bitfield{Bits: []byte{0}}, 9},
		"too long":           {&Bitfield{Bits: []byte{0, 0, 0}}, 9},
		"spare bit":          {&Bitfield{Bits: []byte{0, 0x40}}, 9},
		"whole with bits":    {&Bitfield{Whole: true, Bits: []byte{0xff}}, 8},
		"bits of no pieces":  {&Bitfield{Bits: []byte{0}}, 0},
		"missing altogether": {nil, 1},
	} {
		if _, err := c.bits.Unpack(c.count); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEveryErrorCodeHasWords(t *testing.T) {
	for code := range Error_name {
		if w := Error(code).Words(); w == "" || bytes.HasPrefix([]byte(w), []byte("error ")) {
			t.Errorf("code %d has no words", code)
		}
	}
}

// FuzzNext feeds arbitrary bytes to the reader of every message: it never
// panics, never takes more than the limit, and what it accepts it can write.
func FuzzNext(f *testing.F) {
	for i, c := range messages() {
		b, err := Append(nil, c.m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Add(uint8(0), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		c := messages()[int(kind)%len(messages())]
		m := c.m.ProtoReflect().New().Interface()
		if NewReader(bytes.NewReader(data)).Next(m, c.limit) != nil {
			return
		}
		b, err := Append(nil, m)
		if err != nil {
			t.Fatalf("accepted %v, cannot write it: %v", m, err)
		}
		again := c.m.ProtoReflect().New().Interface()
		if err := NewReader(bytes.NewReader(b)).Next(again, 2*c.limit); err != nil {
			t.Fatalf("cannot read back %v: %v", m, err)
		}
	})
}

// FuzzBitfield checks that what Unpack accepts packs to the same bits.
func FuzzBitfield(f *testing.F) {
	f.Add(10, []byte{0x80, 0x40}, false)
	f.Add(8, []byte{}, true)
	f.Add(9, []byte{0, 0x40}, false)
	f.Fuzz(func(t *testing.T, n int, raw []byte, whole bool) {
		if n < 0 || n > 1<<16 {
			return
		}
		x := &Bitfield{Whole: whole, Bits: raw}
		set, err := x.Unpack(n)
		if err != nil {
			return
		}
		if set.Count() > uint(n) {
			t.Fatalf("%d bits of %d pieces", set.Count(), n)
		}
		again, err := PackBitfield(set, n).Unpack(n)
		if err != nil || !again.Equal(set) {
			t.Fatalf("packed anew: %v, %v", again, err)
		}
	})
}
