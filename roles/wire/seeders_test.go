package wire

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSeedersSurviveTheWire(t *testing.T) {
	want := []Seeder{
		{netip.MustParseAddrPort("127.0.0.1:7001"), true},
		{netip.MustParseAddrPort("192.0.2.1:65535"), false},
		{netip.MustParseAddrPort("[::1]:7001"), true},
	}
	set := PackSeeders(want)
	if len(set.Ipv4) != 2*7 || len(set.Ipv6) != 19 {
		t.Errorf("%d and %d bytes, want 14 and 19", len(set.Ipv4), len(set.Ipv6))
	}
	got, err := set.Unpack()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

// FuzzSeeders checks that a set is refused or packs to the same bytes, but for
// flags that are not known.
func FuzzSeeders(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1, 0x1b, 0x59, 1}, []byte{})
	f.Add([]byte{1}, make([]byte, 19))
	f.Fuzz(func(t *testing.T, v4, v6 []byte) {
		seeders, err := (&SeederSet{Ipv4: v4, Ipv6: v6}).Unpack()
		if err != nil {
			return
		}
		again, err := PackSeeders(seeders).Unpack()
		if err != nil || len(again) != len(seeders) {
			t.Fatalf("packed anew: %d of %d, %v", len(again), len(seeders), err)
		}
		for i, s := range seeders {
			if i < len(v4)/7 && again[i] != s {
				t.Fatalf("peer %d was %v, is %v", i, s, again[i])
			}
		}
	})
}
