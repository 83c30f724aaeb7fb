package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Seeder is one peer of a SeederSet.
type Seeder struct {
	Addr  netip.AddrPort
	Whole bool // has every piece
	// Node is the ID that the peer has proven to the tracker; zero if it is not
	// known.
	Node [NodeIDSize]byte
}

const (
	seeder4 = 4 + 2 + 1  // bytes of an IPv4 peer
	seeder6 = 16 + 2 + 1 // bytes of an IPv6 peer

	seederWhole = 1 // flags
	seederNode  = 2
)

// PackSeeders packs peers as SeederSet says; Total is their number, to be
// raised by a caller that sends a sample. Zones are dropped, and IPv4 mapped
// into IPv6 goes as IPv4.
func PackSeeders(seeders []Seeder) *SeederSet {
	n4 := 0
	for i := range seeders {
		if seeders[i].Addr.Addr().Unmap().Is4() {
			n4++
		}
	}
	set := &SeederSet{Total: uint32(len(seeders))}
	if n4 > 0 {
		set.Ipv4 = make([]byte, 0, n4*seeder4)
	}
	if n6 := len(seeders) - n4; n6 > 0 {
		set.Ipv6 = make([]byte, 0, n6*seeder6)
	}
	var nodes6 []byte
	for i := range seeders {
		s := &seeders[i]
		if ip := s.Addr.Addr().Unmap(); ip.Is4() {
			b := ip.As4()
			set.Ipv4 = s.appendRest(append(set.Ipv4, b[:]...))
			set.NodeIds = s.appendNode(set.NodeIds)
		} else {
			b := ip.As16()
			set.Ipv6 = s.appendRest(append(set.Ipv6, b[:]...))
			nodes6 = s.appendNode(nodes6)
		}
	}
	set.NodeIds = append(set.NodeIds, nodes6...)
	return set
}

func (s *Seeder) known() bool { return s.Node != [NodeIDSize]byte{} }

func (s *Seeder) appendNode(b []byte) []byte {
	if s.known() {
		return append(b, s.Node[:]...)
	}
	return b
}

func (s *Seeder) appendRest(b []byte) []byte {
	var flags byte
	if s.Whole {
		flags |= seederWhole
	}
	if s.known() {
		flags |= seederNode
	}
	return append(binary.BigEndian.AppendUint16(b, s.Addr.Port()), flags)
}

// Unpack lists the peers. It refuses, with a [*CodeError], parts of peers, more
// than MaxWant of them, and another number of node IDs than there are peers that
// have one. Flags that it does not know are ignored.
func (x *SeederSet) Unpack() ([]Seeder, error) {
	b4, b6 := x.GetIpv4(), x.GetIpv6()
	if len(b4)%seeder4 != 0 || len(b6)%seeder6 != 0 {
		return nil, Errorf(Error_ERROR_BAD_REQUEST, "seeders of %d and %d bytes: want multiples of %d and %d",
			len(b4), len(b6), seeder4, seeder6)
	}
	n := len(b4)/seeder4 + len(b6)/seeder6
	if n > MaxWant {
		return nil, Errorf(Error_ERROR_BAD_REQUEST, "%d seeders: at most %d", n, MaxWant)
	}
	out := make([]Seeder, 0, n)
	nodes, short := x.GetNodeIds(), false
	add := func(ip netip.Addr, rest []byte) {
		s := Seeder{
			Addr:  netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest)),
			Whole: rest[2]&seederWhole != 0,
		}
		switch {
		case rest[2]&seederNode == 0:
		case len(nodes) < NodeIDSize:
			short = true
		default:
			s.Node, nodes = [NodeIDSize]byte(nodes), nodes[NodeIDSize:]
		}
		out = append(out, s)
	}
	for ; len(b4) > 0; b4 = b4[seeder4:] {
		add(netip.AddrFrom4([4]byte(b4)), b4[4:])
	}
	for ; len(b6) > 0; b6 = b6[seeder6:] {
		add(netip.AddrFrom16([16]byte(b6)), b6[16:])
	}
	if short || len(nodes) > 0 {
		return nil, Errorf(Error_ERROR_BAD_REQUEST, "node IDs of %d bytes: not one for each seeder that has one", len(x.GetNodeIds()))
	}
	return out, nil
}

// String is "ip:port", with a plus sign if the peer is whole.
func (s Seeder) String() string {
	if s.Whole {
		return fmt.Sprintf("%v+", s.Addr)
	}
	return s.Addr.String()
}
