package registry

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/torrentfmt"
)

var samples = []Entry{
	{Dot: Dot{Seq: 1}, Stamp: 2, Kind: KindRow, Torrent: torrentfmt.ID{1}, Addr: Addr{2}, Whole: true},
	{Dot: Dot{Seq: maxSeq}, Stamp: maxStamp, Kind: KindRow, Torrent: torrentfmt.ID{3}, Addr: Addr{4}, Gone: true},
	{Dot: Dot{Seq: 7}, Stamp: 8, Kind: KindHome, Addr: Addr{5}, Node: NodeID{6}},
	{Dot: Dot{Seq: 7}, Stamp: 8, Kind: KindHome, Addr: Addr{5}, Node: NodeID{6}, Owner: NodeID{7}},
	{Dot: Dot{Seq: 7}, Stamp: 8, Kind: KindHome, Addr: Addr{5}, Node: NodeID{6}, Owner: NodeID{19: 7}, Extra: []byte("newer")},
	{Dot: Dot{Seq: 7}, Stamp: 8, Kind: KindHome, Addr: Addr{5}, Node: NodeID{6}, Extra: []byte(ownerField)},
	{Dot: Dot{Seq: 9}, Stamp: 10, Kind: KindFloor, Addr: Addr{7}},
	{Dot: Dot{Seq: 11}, Stamp: 12, Kind: KindTorrent, Torrent: torrentfmt.ID{8}, Name: "a file", Size: 1 << 40},
	{Dot: Dot{Seq: 13}, Stamp: 14, Kind: KindTorrent, Torrent: torrentfmt.ID{9}},
	{Dot: Dot{Seq: 15}, Stamp: 16, Kind: KindTorrent, Torrent: torrentfmt.ID{8}, Name: "a file", Size: 1 << 40, Extra: []byte{0, 1, 0}},
	{Dot: Dot{Seq: 17}, Stamp: 18, Kind: KindTorrent, Torrent: torrentfmt.ID{8}, Extra: []byte("newer")},
	{Dot: Dot{Seq: 19}, Stamp: 20, Kind: KindRow, Torrent: torrentfmt.ID{1}, Addr: Addr{2}, Extra: []byte("newer")},
	{Dot: Dot{Seq: 21}, Stamp: 22, Kind: KindFloor, Addr: Addr{7}, Extra: []byte{1}},
	{Dot: Dot{Seq: 23}, Stamp: 24, Kind: 77, Extra: []byte("all of it")},
	{Dot: Dot{Seq: 25}, Stamp: 26, Kind: 255},
}

func TestEntriesSurviveStoring(t *testing.T) {
	for _, e := range samples {
		k := dotRef{3, e.Dot.Seq}.appendKey(nil)
		v := appendValue(nil, k, &e)
		got, err := decodeValue(k, v)
		if err != nil {
			t.Errorf("%+v: %v", e, err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Errorf("stored and read:\n%s", d)
		}
	}
}

func TestAnyFlippedBitIsNoticed(t *testing.T) {
	for _, e := range samples {
		k := dotRef{3, e.Dot.Seq}.appendKey(nil)
		v := appendValue(nil, k, &e)
		for i := range 8 * (len(k) + len(v)) {
			k, v := bytes.Clone(k), bytes.Clone(v)
			if b := i / 8; b < len(k) {
				k[b] ^= 1 << (i % 8)
			} else {
				v[b-len(k)] ^= 1 << (i % 8)
			}
			if _, err := decodeValue(k, v); err == nil {
				t.Fatalf("%+v: bit %d flipped unnoticed", e, i)
			}
		}
	}
}

func FuzzStoredEntry(f *testing.F) {
	for _, e := range samples {
		k := dotRef{3, e.Dot.Seq}.appendKey(nil)
		v := appendValue(nil, k, &e)
		f.Add(k, v[:len(v)-crcSize])
	}
	f.Fuzz(func(t *testing.T, k, body []byte) {
		// With the right checksum, so that the decoder behind it is reached.
		v := appendCRC(bytes.Clone(body), k, 0)
		e, err := decodeValue(k, v)
		if err != nil {
			return
		}
		if again := appendValue(nil, k, &e); !bytes.Equal(v, again) {
			t.Fatalf("%x is read as %+v and stored as %x", v, e, again)
		}
		_, _ = decodeValue(k, body)
	})
}

func TestAddrSurvivesPacking(t *testing.T) {
	for _, s := range []string{"10.0.0.1:6881", "[2001:db8::1]:1", "[::ffff:1.2.3.4]:80"} {
		a := netip.MustParseAddrPort(s)
		want := netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if got := AddrOf(a).AddrPort(); got != want {
			t.Errorf("%s came back as %v", s, got)
		}
	}
}

func TestStampsExceedAllSeenAndExpiriesTieWithNone(t *testing.T) {
	var c clock
	last := Stamp(0)
	for _, wall := range []int64{1000, 1000, 500, -5, 2000, 1 << 62, 0} {
		s := c.next(wall)
		if s <= last || s.byExpiry() {
			t.Fatalf("at %d: %d after %d", wall, s, last)
		}
		if x := s.expired(); x <= s || x >= c.next(wall) || !x.byExpiry() {
			t.Fatalf("expiry %d of %d", x, s)
		}
		last = c.last
	}
	c.observe(last + 1001)
	if s := c.next(0); s <= last+1001 || s.byExpiry() {
		t.Fatalf("%d after %d was seen", s, last+1001)
	}
}

func TestEchoFromFarAheadIsIgnored(t *testing.T) {
	var c clock
	const now = 1_000_000_000
	near := stampAt(now + MaxEcho.Milliseconds())
	if got := c.echo(near, now); got != near || c.next(now) <= near {
		t.Errorf("an echo %v ahead counts as %d", MaxEcho, got)
	}
	c = clock{}
	if got := c.echo(near+2, now); got != 0 || c.next(now) >= near {
		t.Errorf("an echo further ahead counts as %d", got)
	}
}
