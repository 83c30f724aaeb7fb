package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// client is an examination of a client of 10.0.0.9 on a machine without a
// firewall's own command.
func client() *examination {
	return &examination{Options{
		Role: "client", Listen: "10.0.0.9:7001", Own: netip.MustParseAddrPort("10.0.0.9:7001"),
		Trackers: []string{"10.0.0.1:7000", "10.0.0.2:7000"},
		Carriers: transport.Table{{Scheme: "tcp"}, {Scheme: "quic"}}, Dials: []string{"tcp", "quic"},
		Tools: Tools{
			GOOS: "linux", Has: func(string) bool { return false },
			Again: "mtor doctor", Start: "mtor client", TrackerFile: "/etc/mtor/tracker.yaml",
		},
	}}
}

func node(name string) []byte { return []byte(fmt.Sprintf("%-20s", name)) }

// is holds a line against a result, a part of its detail, and its commands.
func (l Line) is(t *testing.T, r Result, detail, mend, on string) {
	t.Helper()
	if l.Result != r || !strings.Contains(l.Detail, detail) || l.Mend != mend || l.On != on {
		t.Errorf("%+v\nwant %s, %q, mended by %q on %q", l, r, detail, mend, on)
	}
}

func TestATrackerThatIsReachedOverOneTransportIsAWarningAndOneThatIsNotAFailure(t *testing.T) {
	e := client()
	well := asked{scheme: "tcp", took: time.Millisecond, probed: &wire.Probed{}}
	late := asked{scheme: "quic", err: &transport.DialError{Err: context.DeadlineExceeded}}
	refused := asked{scheme: "tcp", err: &transport.DialError{Err: syscall.ECONNREFUSED}}
	at := func(over ...asked) []Line {
		return e.judgeReach(&reached{addr: "10.0.0.1:7000", host: "10.0.0.1", over: over})
	}
	ls := at(well, late)
	ls[0].is(t, OK, "answers in 1ms", "", "")
	ls[1].is(t, Warning, "no answer within 3s", "sudo iptables -I INPUT -p udp --dport 7000 -j ACCEPT", "10.0.0.1")
	// A machine that refuses TCP is up: nothing has to be opened for QUIC.
	for _, l := range at(refused, late) {
		l.is(t, Failed, "", "mtor tracker --config /etc/mtor/tracker.yaml", "10.0.0.1")
	}
	// What the role does not dial over is no help to it.
	e.Dials = []string{"quic"}
	at(well, late)[1].is(t, Failed, "no answer", "sudo iptables -I INPUT -p udp --dport 7000 -j ACCEPT", "10.0.0.1")
	other := asked{scheme: "quic", err: &transport.DialError{Err: identity.ErrPrivate}}
	e.Tools.SwarmKey, e.Tools.SetSwarmKey, e.Tools.Settings = "/etc/mtor/swarm.key", true, "c.yaml"
	at(other)[0].is(t, Failed, "no swarm key",
		"scp 10.0.0.1:/etc/mtor/swarm.key /etc/mtor/swarm.key && echo 'swarm_key_file: /etc/mtor/swarm.key' >> c.yaml", "")
	clear := asked{scheme: "tcp", err: &transport.SessionError{Err: transport.ErrClear}}
	at(clear)[0].is(t, Failed, "a swarm key is needed",
		"scp 10.0.0.1:/etc/mtor/swarm.key /etc/mtor/swarm.key && echo 'swarm_key_file: /etc/mtor/swarm.key' >> c.yaml", "")
	at(asked{scheme: "tls", err: &transport.DialError{Err: identity.ErrExpired}})[0].is(t, Failed, "clocks", "sudo timedatectl set-ntp true", "")
	at(asked{scheme: "tcp"})[0].is(t, Warning, "too old", "mtor version", "10.0.0.1")
}

// linked is a tracker that pulls from those named.
func linked(name, vector, list string, from ...string) answer {
	p := &wire.Probed{NodeId: node(name), Vector: []byte(vector), List: []byte(list), Torrents: 1, Listed: 2}
	for _, other := range from {
		p.Links = append(p.Links, &wire.ProbedLink{Addr: other + ":7000", NodeId: node(other), Connected: true, Following: true, Behind: 3})
	}
	return answer{name + ":7000", name, p}
}

func TestTrackersAgreeWhenTheyKnowTheSameChangesAndListTheSame(t *testing.T) {
	e := client()
	two := []reached{{addr: "a:7000"}, {addr: "b:7000"}}
	judge := func(first, now []answer) Line { return e.judgeAgreement(two, first, now) }
	a, b := linked("a", "v1", "l1", "b"), linked("b", "v1", "l1", "a")

	judge(nil, []answer{a, b}).is(t, OK, "the same list: 1 torrent, 2 rows", "", "")
	judge(nil, []answer{a, linked("b", "v1", "l2", "a")}).is(t, Failed, "their lists differ", "mtor doctor", "")
	judge(nil, []answer{a}).is(t, Warning, "1 of 2 trackers", "", "")
	judge(nil, []answer{a, a}).is(t, Failed, "are one tracker", "", "")

	// Behind for long, and nothing moves; or everything does.
	old := []answer{a, linked("b", "v0", "l0", "a")}
	judge(old, old).is(t, Failed, "changes do not pass; b:7000 is 3 changes behind", "mtor doctor", "")
	next := []answer{linked("a", "v3", "l1", "b"), linked("b", "v2", "l0", "a")}
	judge(old, next).is(t, OK, "in touch, while changes come in", "", "")
	judge(old, []answer{linked("a", "v3", "l1", "b"), old[1]}).is(t, Failed, "changes do not pass", "mtor doctor", "")

	// Apart, and one does not pull from the other.
	judge(old, []answer{a, linked("b", "v0", "l0")}).is(t, Failed, "b:7000 is not in touch with a:7000",
		"mtor doctor --config /etc/mtor/tracker.yaml", "b")
}

func TestTheClockThatIsWrongIsTheOneThatIsToBeSet(t *testing.T) {
	e := client()
	off := func(by ...time.Duration) []Line {
		var list []reached
		for i, d := range by {
			host := fmt.Sprintf("10.0.0.%d", i+1)
			list = append(list, reached{host + ":7000", host, []asked{{scheme: "tcp", took: 2 * time.Millisecond, ahead: d, probed: &wire.Probed{}}}})
		}
		return e.judgeClocks(list)
	}
	const set = "sudo timedatectl set-ntp true"
	ls := off(-300*time.Millisecond, time.Minute)
	ls[0].is(t, OK, "the same time, to 300ms", "", "")
	ls[1].is(t, Warning, "its clock is 1m0s before this one", set, "10.0.0.2")
	for _, l := range off(-time.Minute, -time.Hour) { // all to one side
		l.is(t, Warning, "behind this one", set, "")
	}
	ls = off(0, 49*time.Hour)
	ls[1].is(t, Failed, "49h0m0s before", set, "10.0.0.2")
	if ls := off(); len(ls) != 0 {
		t.Errorf("without an answer: %v", ls)
	}
	// A slow answer is no proof of a wrong clock.
	slow := []reached{{over: []asked{{took: 10 * time.Second, ahead: 4 * time.Second, probed: &wire.Probed{}}}}}
	e.judgeClocks(slow)[0].is(t, OK, "to 5.001s", "", "")
}

func TestTheWayBackIsJudgedByWhatTheTrackersReach(t *testing.T) {
	e := client()
	d := &door{addr: e.Own}
	copy(d.id[:], node("mine"))
	said := func(addr, tcp, quic string, id []byte) answer {
		p := &wire.Probed{Source: "10.0.0.9"}
		for scheme, err := range map[string]string{"tcp": tcp, "quic": quic} {
			x := &wire.DialledBack{Scheme: scheme, Error: err}
			if err == "" {
				x.NodeId = id
			}
			p.Dialled = append(p.Dialled, x)
		}
		return answer{addr + ":7000", addr, p}
	}
	ls := e.judgeBack(d, []answer{said("a", "", "connection timed out", node("mine")), said("b", "", "", node("mine"))})
	ls[0].is(t, OK, "reached by a:7000 and b:7000", "", "")
	ls[1].is(t, Failed, "not reached by a:7000: connection timed out", "sudo iptables -I INPUT -p udp --dport 7001 -j ACCEPT", "")

	ls = e.judgeBack(d, []answer{said("a", "", "", node("somebody"))})
	ls[0].is(t, Failed, "another node answers at this address", "ip -brief address", "")

	// Somebody else's program has the port.
	busy := &door{addr: e.Own, err: fmt.Errorf("bind: %w", syscall.EADDRINUSE)}
	ls = e.judgeBack(busy, []answer{said("a", "it was reached, and does not answer as mtor does: EOF", "", node("x"))})
	ls[0].is(t, Failed, "does not answer as mtor", "sudo ss -lntup 'sport = :7001'", "")
	ls[1].is(t, OK, "reached by a:7000, where the client runs", "", "")

	refused := answer{"a:7000", "a", &wire.Probed{Source: "192.0.2.7", Refused: "announced 10.0.0.9, but the connection comes from 192.0.2.7"}}
	ls = e.judgeBack(d, []answer{refused})
	ls[0].is(t, Failed, "a:7000 refuses it", "mtor tracker --config /etc/mtor/tracker.yaml --trust-announced 192.0.2.7", "a")
	ls[1].is(t, Warning, "not looked at: a tracker dials back only", "", "")
	e.judgeBack(d, []answer{{}})[0].is(t, Warning, "no tracker could be asked", "", "")
}

func TestAPortThatCannotBeHadIsToldOf(t *testing.T) {
	e := client()
	e.unbound(&door{err: fmt.Errorf("bind: %w", syscall.EADDRNOTAVAIL)}).is(t, Failed, "not one of this machine's", "ip -brief address", "")
	e.unbound(&door{err: fmt.Errorf("bind: %w", syscall.EACCES)}).is(t, Failed, "only root", "", "")
	e.unbound(&door{err: errors.New("two\nlines")}).is(t, Failed, "two lines", "", "")
}

func TestTheWorstResultCounts(t *testing.T) {
	for want, lines := range map[Result][]Line{
		OK:      {{Result: OK}},
		Warning: {{Result: OK}, {Result: Warning}, {Result: OK}},
		Failed:  {{Result: Warning}, {Result: Failed}, {Result: Warning}},
	} {
		if got := Worst(lines); got != want {
			t.Errorf("%v: %s", lines, got)
		}
	}
}

func TestTheFirewallThatIsThereIsTheOneThatIsOpened(t *testing.T) {
	has := func(name string) Tools { return Tools{GOOS: "linux", Has: func(p string) bool { return p == name }} }
	for want, tools := range map[string]Tools{
		"sudo ufw allow 7001/udp": has("ufw"),
		"sudo firewall-cmd --permanent --add-port=7001/udp && sudo firewall-cmd --reload":                     has("firewall-cmd"),
		"sudo iptables -I INPUT -p udp --dport 7001 -j ACCEPT":                                                has(""),
		`netsh advfirewall firewall add rule name="mtor udp" dir=in action=allow protocol=udp localport=7001`: {GOOS: "windows"},
	} {
		if got := tools.open("udp", 7001); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
