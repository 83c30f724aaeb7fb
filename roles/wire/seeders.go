package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Lengths of one packed peer in bytes: IP, port, flags.
const (
	seeder4 = 4 + 2 + 1
	seeder6 = 16 + 2 + 1

	flagWhole = 1
)

// Seeder is a client that is listed for a torrent.
type Seeder struct {
	Addr  netip.AddrPort
	Whole bool // has every piece
}

// PackSeeders packs peers as [SeederSet] says; an IPv4 address mapped into
// IPv6 is packed as IPv4.
func PackSeeders(seeders []Seeder) *SeederSet {
	x := new(SeederSet)
	for _, s := range seeders {
		flags := byte(0)
		if s.Whole {
			flags = flagWhole
		}
		ip := s.Addr.Addr().Unmap()
		if ip.Is4() {
			x.Ipv4 = append(x.Ipv4, ip.AsSlice()...)
			x.Ipv4 = append(binary.BigEndian.AppendUint16(x.Ipv4, s.Addr.Port()), flags)
			continue
		}
		x.Ipv6 = append(x.Ipv6, ip.AsSlice()...)
		x.Ipv6 = append(binary.BigEndian.AppendUint16(x.Ipv6, s.Addr.Port()), flags)
	}
	return x
}

// Unpack lists the peers of a set. It fails when a list is not of whole
// entries; unknown flags are ignored.
func (x *SeederSet) Unpack() ([]Seeder, error) {
	v4, v6 := x.GetIpv4(), x.GetIpv6()
	if len(v4)%seeder4 != 0 || len(v6)%seeder6 != 0 {
		return nil, fmt.Errorf("peers of %d and %d bytes: want multiples of %d and %d", len(v4), len(v6), seeder4, seeder6)
	}
	seeders := make([]Seeder, 0, len(v4)/seeder4+len(v6)/seeder6)
	for ; len(v4) > 0; v4 = v4[seeder4:] {
		seeders = append(seeders, unpackSeeder(netip.AddrFrom4([4]byte(v4[:4])), v4[4:]))
	}
	for ; len(v6) > 0; v6 = v6[seeder6:] {
		seeders = append(seeders, unpackSeeder(netip.AddrFrom16([16]byte(v6[:16])), v6[16:]))
	}
	return seeders, nil
}

func unpackSeeder(ip netip.Addr, rest []byte) Seeder {
	return Seeder{Addr: netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest)), Whole: rest[2]&flagWhole != 0}
}
