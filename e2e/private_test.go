package e2e

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/announce"
	"github.com/mtor-dev/mtor/roles/demo/process"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// private makes a swarm key and has the swarm's trackers hold it.
func (s *swarm) private() *swarm {
	s.Helper()
	s.runs("keygen", "swarm", "swarm.key")
	for _, t := range s.trackers {
		t.args = append(t.args, "--swarm-key", "swarm.key")
		t.start()
	}
	s.table = s.carriers(s.member("swarm.key")).Proving()
	return s
}

// member is one who holds a swarm key, and is no node of the swarm yet.
func (s *swarm) member(keyFile string) *identity.Credentials {
	s.Helper()
	swarm, err := identity.OpenSwarm(s.path(keyFile))
	if err != nil {
		s.Fatal(err)
	}
	return identity.New(identity.NewKey(), swarm)
}

// carriers are all that one who has these credentials can dial over.
func (s *swarm) carriers(c *identity.Credentials) transport.Table {
	s.Helper()
	q, err := quic.New(quic.Options{Credentials: c})
	if err != nil {
		s.Fatal(err)
	}
	return transport.Table{tcp.New(tcp.Options{Credentials: c}), tcp.NewTLS(tcp.Options{Credentials: c}), q}
}

// shut checks that a node tells one who dials it nothing, over any of these
// rows: not even a hello.
func (s *swarm) shut(addr string, table transport.Table) {
	s.Helper()
	for _, row := range table {
		sess, err := row.Dial(s.ctx, addr)
		if err != nil {
			continue
		}
		for what, b := range map[string][]byte{"hello": framed(s.T, helloOf(7)), "requests": framed(s.T, openRequests)} {
			st, err := sess.Open(s.ctx)
			if err != nil {
				continue
			}
			_ = st.SetDeadline(time.Now().Add(patience))
			_, _ = st.Write(b)
			if n, err := io.Copy(io.Discard, st); n != 0 || err == nil {
				s.Errorf("%s answered a stranger's %s over %s by %d bytes and %v", addr, what, row.Scheme, n, err)
			}
		}
		_ = sess.Close()
	}
}

func TestPrivateSwarmServesItsMembersAlone(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false).private()
	s.write("data", 9*pieceSize+1, 1)
	s.write("theirs", 1000, 2)
	keyed := func(n int, name, transport string) *client {
		return s.client(n, name, "--swarm-key", "swarm.key", "--transport", transport)
	}
	sharer := keyed(10, "sharer", "auto")
	sharer.do("share data x.mtorrent")
	overTLS, overQUIC := keyed(20, "over-tls", "tls"), keyed(21, "over-quic", "quic")
	for _, c := range []*client{overTLS, overQUIC} {
		c.do("get x.mtorrent copy-" + c.name)
	}
	for _, c := range []*client{overTLS, overQUIC} {
		c.do("wait")
		s.same("data", "copy-"+c.name)
	}
	id := s.id("x.mtorrent")
	members := whole(sharer, overTLS, overQUIC)
	s.allList(id, members...)

	// Each is listed by the key in its state folder, by both trackers.
	self := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize)}
	for _, tr := range s.trackers {
		list, _, err := announce.List(s.ctx, s.table, tr.addr, self, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client{sharer, overTLS, overQUIC} {
			key, err := identity.OpenKey(s.path(c.name + ".state/node.key"))
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list {
				if l.Addr == netip.MustParseAddrPort(c.addr) && l.Node != key.ID() {
					t.Errorf("%s lists %s by node %x, which is %v", tr.name, c.name, l.Node, key.ID())
				}
			}
		}
	}

	// Strangers, whatever they hold and speak, and whomever they call.
	s.runs("keygen", "swarm", "other.key")
	for name, creds := range map[string]*identity.Credentials{
		"no key": identity.Ephemeral(), "another key": s.member("other.key"),
	} {
		for _, addr := range []string{s.trackers[0].addr, s.trackers[1].addr, sharer.addr, overTLS.addr, overQUIC.addr} {
			s.shut(addr, s.carriers(creds))
			if t.Failed() {
				t.Fatalf("by one with %s", name)
			}
		}
	}
	for i, flags := range [][]string{
		{"--transport", "tcp"}, {"--transport", "tls"}, {"--transport", "quic"}, {},
		{"--swarm-key", "other.key"}, {"--swarm-key", "other.key", "--transport", "quic"},
	} {
		name := "stranger" + strings.Join(flags, "")
		c := s.client(30+i, name, flags...)
		c.do("share theirs " + name + ".mtorrent")
		c.do("get x.mtorrent stolen" + name)
		s.logs(name+".log", "no tracker can be reached", "swarm key")
		c.Kill()
		if info, err := os.Stat(s.path("stolen" + name)); err == nil {
			t.Errorf("a stranger has %v", info)
		}
	}
	s.allList(id, members...)

	// Members go on, with what they are told by either tracker.
	s.trackers[0].Kill()
	late := keyed(22, "late", "auto")
	late.do("get x.mtorrent copy-late")
	late.do("wait")
	s.same("data", "copy-late")
	s.trackers[0].start()
	s.allList(id, append(members, late.addr+" whole")...)
}

// turnsAway waits until a role shows that it refused somebody over a transport, and
// for this reason.
func (s *swarm) turnsAway(p *process.Process, role, transport, reason string) {
	s.Helper()
	url := "http://" + s.said(p, "metrics on ") + "/metrics"
	series := "\nmtor_" + role + `_handshakes_refused_total{reason="` + reason + `",transport="` + transport + `"} `
	tick := time.NewTicker(20 * time.Millisecond) // a counter has no event
	defer tick.Stop()
	for {
		_, n, there := strings.Cut(s.get(url), series)
		if !there {
			s.Fatalf("%s does not show %s", url, series)
		}
		if !strings.HasPrefix(n, "0\n") {
			return
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("%s still shows %s0", url, series)
		}
	}
}

// The operator of a private swarm sees who knocks, and why a machine of his own does
// not get in.
func TestOperatorOfAPrivateSwarmSeesWhoIsRefusedAndWhy(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	for _, tr := range s.trackers {
		tr.args = append(tr.args, "--metrics", "127.0.0.1:0")
	}
	s.private()
	s.runs("keygen", "swarm", "other.key")
	s.write("data", 1000, 1)
	s.client(30, "stranger").do("share data stranger.mtorrent")
	for _, tr := range s.trackers {
		s.turnsAway(tr.Process, "tracker", "tcp", "no_key")
		tr.logs(`msg="handshake refused" from=`+s.ip(30)+":", "transport=tcp reason=no_key", "it speaks in the clear", "--swarm-key")
	}
	for i, transport := range []string{"tls", "quic"} {
		c := s.client(31+i, transport, "--swarm-key", "other.key", "--transport", transport)
		c.do("share data " + transport + ".mtorrent")
		s.turnsAway(s.trackers[0].Process, "tracker", transport, "broke_off")
	}
	s.trackers[0].logs("from="+s.ip(31)+":", "transport=tls reason=broke_off", "they were given different ones")
	member := s.client(10, "member", "--swarm-key", "swarm.key", "--metrics", "127.0.0.1:0")
	s.shut(member.addr, s.carriers(identity.Ephemeral())[:1])
	s.turnsAway(member.Process, "client", "tcp", "no_key")
	s.logs("member.log", "transport=tcp reason=no_key")
}

// One that has a tracker's address, and not the key, gets no row of the other,
// nor gives it any.
func TestTrackerWithoutTheKeyIsNoTrackerOfThePrivateSwarm(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false).private()
	s.write("data", 1000, 1)
	sharer := s.client(10, "sharer", "--swarm-key", "swarm.key")
	sharer.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(sharer)...)

	a, b := s.trackers[0], s.trackers[1]
	b.Kill()
	p := s.start(process.Spec{Name: "impostor", Exe: binary, Dir: s.dir, Args: []string{
		"tracker", b.addr, a.addr, "impostor.db", "impostor.log",
	}})
	if _, err := p.Ready(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.logs("impostor.log", "replication is open", "peer tracker cannot be reached", "a swarm key is needed")
	a.logs("peer tracker lost")
	host, _, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	// Its own list can be seen by anybody, and has nothing of the swarm's.
	x := s.stranger(s.tables(host)["tcp"], b.addr)
	x.says(framed(t, &wire.Request{Kind: &wire.Request_SeederList{SeederList: &wire.SeederList{TorrentId: id[:], Want: 10}}}))
	if r := x.hears(); r.GetSeeders().GetTotal() != 0 {
		t.Errorf("the impostor lists %v", r)
	}
	p.Kill()
	b.start()
	s.allList(id, whole(sharer)...)
}

// What a client announced with its key nobody takes off, though he comes from
// its address.
func TestStrangerOfTheSameHostCannotUnlistAKeyedClient(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	sharer := s.client(10, "sharer", "--transport", "tls")
	sharer.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(sharer)...)
	host, _, err := net.SplitHostPort(sharer.addr)
	if err != nil {
		t.Fatal(err)
	}
	tables := s.tables(host)
	tables["tls"] = transport.Table{tcp.NewTLS(tcp.Options{LocalIP: netip.MustParseAddr(host)})}
	for scheme, table := range tables {
		for _, tr := range s.trackers {
			x := s.stranger(table, tr.addr)
			x.says(framed(t, remove(sharer.addr, id)))
			if r := x.hears(); r.GetError() != wire.Error_ERROR_FOREIGN_KEY {
				t.Errorf("%s: a removal over %s: %v", tr.name, scheme, r)
			}
		}
	}
	s.allList(id, whole(sharer)...)
	getter := s.client(20, "getter") // which dials it by its key
	getter.do("get x.mtorrent copy")
	getter.do("wait")
	s.same("data", "copy")
	sharer.quit()
	s.allList(id, whole(getter)...)
}
