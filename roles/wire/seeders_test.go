package wire

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSeedersSurvivePacking(t *testing.T) {
	in := []Seeder{
		{netip.MustParseAddrPort("10.0.0.1:6881"), true},
		{netip.MustParseAddrPort("255.1.2.3:1"), false},
		{netip.MustParseAddrPort("[2001:db8::1]:65535"), true},
		{netip.MustParseAddrPort("[::1]:80"), false},
	}
	set := PackSeeders(in)
	if len(set.Ipv4) != 2*7 || len(set.Ipv6) != 2*19 || set.Total != 4 {
		t.Fatalf("packed as %d and %d bytes, total %d", len(set.Ipv4), len(set.Ipv6), set.Total)
	}
	out, err := set.Unpack()
	if err != nil || !slices.Equal(in, out) {
		t.Fatalf("unpacked %v (%v), packed %v", out, err, in)
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
	f.Add([]byte{10, 0, 0, 1, 0x1a, 0xe1, 1}, []byte{})
	f.Add([]byte{}, append(make([]byte, 15), 1, 0, 80, 0))
	f.Add([]byte{1}, []byte{2})
	f.Fuzz(func(t *testing.T, b4, b6 []byte) {
		out, err := (&SeederSet{Ipv4: b4, Ipv6: b6}).Unpack()
		if err != nil {
			return
		}
		again, err := PackSeeders(out).Unpack()
		if err != nil || len(again) != len(out) {
			t.Fatalf("%v packed and unpacked is %v (%v)", out, again, err)
		}
	})
}
