package announce

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func TestWholePeersAreCountedByTheTrackerOrFromAllThatAnOlderOneLists(t *testing.T) {
	pair := wire.PackSeeders([]wire.Seeder{
		{Addr: netip.MustParseAddrPort("10.0.0.1:1"), Whole: true},
		{Addr: netip.MustParseAddrPort("10.0.0.2:1")},
	})
	many, counted, none := uint32(5), uint32(3), uint32(0)
	for name, c := range map[string]struct {
		set  *wire.SeederSet
		want Counted
		err  error
	}{
		"counted":            {&wire.SeederSet{Total: many, Whole: &counted}, Counted{5, 3}, nil},
		"counted none":       {&wire.SeederSet{Total: 2, Ipv4: pair.GetIpv4(), Whole: &none}, Counted{2, 0}, nil},
		"older":              {pair, Counted{2, 1}, nil},
		"older, a part":      {&wire.SeederSet{Total: many, Ipv4: pair.GetIpv4()}, Counted{5, 0}, errNoCount},
		"unknown torrent":    {&wire.SeederSet{}, Counted{}, nil},
		"nothing is said":    {nil, Counted{}, nil},
		"a part of a seeder": {&wire.SeederSet{Total: 1, Ipv4: []byte{1}}, Counted{}, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "")},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
				x := startTracker(t, tr, addrA, func(req *wire.Request, _ int) *wire.Reply {
					if l := req.GetSeederList(); !l.GetCountWhole() || l.GetWant() != wire.MaxWant || req.GetAddr() != "" {
						t.Errorf("it was asked %v", req)
					}
					return &wire.Reply{Seeders: c.set}
				})
				conn, err := Dial(context.Background(), dialer{tr}, addrA, g.o.Self)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				got, err := conn.Count(context.Background(), id)
				var coded *wire.CodeError
				bad := c.err != nil && errors.As(c.err, &coded)
				if got != c.want || !bad && !errors.Is(err, c.err) || bad && !errors.As(err, &coded) {
					t.Errorf("%+v, %v; want %+v, %v", got, err, c.want, c.err)
				}
				expect(t, x, "list")
			})
		})
	}
}
