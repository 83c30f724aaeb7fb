package wire

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSeedersSurvivePacking(t *testing.T) {
	in := []Seeder{
		{Addr: netip.MustParseAddrPort("10.0.0.1:6881"), Whole: true, Node: [NodeIDSize]byte{1}},
		{Addr: netip.MustParseAddrPort("255.1.2.3:1")},
		{Addr: netip.MustParseAddrPort("10.0.0.1:6882"), Node: [NodeIDSize]byte{2}},
		{Addr: netip.MustParseAddrPort("[2001:db8::1]:65535"), Whole: true},
		{Addr: netip.MustParseAddrPort("[::1]:80"), Node: [NodeIDSize]byte{3}},
	}
	set := PackSeeders(in)
	if len(set.Ipv4) != 3*7 || len(set.Ipv6) != 2*19 || len(set.NodeIds) != 3*NodeIDSize || set.Total != 5 {
		t.Fatalf("packed as %d, %d and %d bytes, total %d", len(set.Ipv4), len(set.Ipv6), len(set.NodeIds), set.Total)
	}
	out, err := set.Unpack()
	if err != nil || !slices.Equal(in, out) {
		t.Fatalf("unpacked %v (%v), packed %v", out, err, in)
	}
}

// The tracker lists IPv6 peers in between; their node IDs still find them.
func TestNodeIDsKeepToTheirPeers(t *testing.T) {
	out, err := PackSeeders([]Seeder{
		{Addr: netip.MustParseAddrPort("[::1]:80"), Node: [NodeIDSize]byte{6}},
		{Addr: netip.MustParseAddrPort("10.0.0.1:1"), Node: [NodeIDSize]byte{4}},
	}).Unpack()
	if err != nil || len(out) != 2 || out[0].Node[0] != 4 || out[1].Node[0] != 6 {
		t.Fatalf("got %v (%v)", out, err)
	}
}

func TestMappedSeederGoesAsIPv4(t *testing.T) {
	out, err := PackSeeders([]Seeder{{Addr: netip.MustParseAddrPort("[::ffff:10.1.2.3]:5")}}).Unpack()
	if err != nil || len(out) != 1 || out[0].Addr.String() != "10.1.2.3:5" {
		t.Fatalf("got %v (%v)", out, err)
	}
}

func TestUnpackRefusesPartsAndCrowds(t *testing.T) {
	for _, set := range []*SeederSet{
		{Ipv4: make([]byte, 6)},
		{Ipv6: make([]byte, 20)},
		{Ipv4: make([]byte, 7*(MaxWant+1))},
		{Ipv4: []byte{10, 0, 0, 1, 0, 80, seederNode}},
		{Ipv4: []byte{10, 0, 0, 1, 0, 80, seederNode}, NodeIds: make([]byte, NodeIDSize-1)},
		{Ipv4: []byte{10, 0, 0, 1, 0, 80, 0}, NodeIds: make([]byte, NodeIDSize)},
	} {
		if out, err := set.Unpack(); err == nil {
			t.Errorf("%d and %d bytes: unpacked %v", len(set.Ipv4), len(set.Ipv6), out)
		}
	}
	if out, err := (*SeederSet)(nil).Unpack(); err != nil || len(out) != 0 {
		t.Errorf("no set: %v, %v", out, err)
	}
}

func FuzzUnpackSeeders(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1, 0x1a, 0xe1, 1}, []byte{}, []byte{})
	f.Add([]byte{}, append(make([]byte, 15), 1, 0, 80, 0), []byte{})
	f.Add([]byte{10, 0, 0, 1, 0x1a, 0xe1, 3}, append(make([]byte, 15), 1, 0, 80, 2), []byte(strings.Repeat("id", NodeIDSize)))
	f.Add([]byte{1}, []byte{2}, []byte{3})
	f.Fuzz(func(t *testing.T, b4, b6, nodes []byte) {
		out, err := (&SeederSet{Ipv4: b4, Ipv6: b6, NodeIds: nodes}).Unpack()
		if err != nil {
			return
		}
		again, err := PackSeeders(out).Unpack()
		if err != nil || len(again) != len(out) {
			t.Fatalf("%v packed and unpacked is %v (%v)", out, again, err)
		}
		for i := range out {
			// Mapped IPv4 goes before all IPv6.
			if !slices.ContainsFunc(again, func(s Seeder) bool {
				return s.Node == out[i].Node && s.Whole == out[i].Whole && s.Addr.Addr().Unmap() == out[i].Addr.Addr().Unmap()
			}) {
				t.Fatalf("%v is lost in %v", out[i], again)
			}
		}
	})
}
