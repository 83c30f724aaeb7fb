package e2e

import (
	"os"
	"slices"
	"testing"
)

// newTrio lays out a swarm of three trackers, which get flags and are down.
func newTrio(t *testing.T, flags ...string) *swarm {
	t.Helper()
	s := newPair(t, flags...)
	const name = "tracker-3"
	addr := s.reserve(s.ip(3))
	third := &tracker{s: s, name: name, addr: addr, args: append([]string{
		"tracker", addr, s.trackers[0].addr, name + ".db", name + ".log", "--peer", s.trackers[1].addr,
	}, flags...)}
	for _, tr := range s.trackers {
		tr.args = append(tr.args, "--peer", addr)
	}
	s.trackers = append(s.trackers, third)
	return s
}

func TestNothingAcknowledgedIsLostToKillsOfAnyOfThree(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newTrio(t, "--lease", "24h")
	s.startAll()
	l := newLedger()
	town := s.settle(l)
	for k := range sized(12, 100) {
		l.progress(s, 20+k*7%50)
		x, y := s.trackers[k%3], s.trackers[(k+1)%3]
		x.Kill()
		if k%4 == 3 { // one is left
			y.Kill()
			l.progress(s, 20)
			y.start()
		}
		l.progress(s, 20)
		x.start()
	}
	town.close()
	l.check(s)
}

func TestAnyOfThreeCutOffServesAndAgreesAfterwards(t *testing.T) {
	t.Parallel()
	heavy(t)
	for name, how := range map[string]cut{"refused": refused, "silent": severed} {
		t.Run(name, func(t *testing.T) {
			s := newTrio(t, "--lease", "24h")
			// Each dials each through a relay of its own, at the other's IP.
			var way [3][3]*relay
			for i, tr := range s.trackers {
				for j, other := range s.trackers {
					if i == j {
						continue
					}
					way[i][j] = s.relay(s.ip(j+1), other.addr, s.ip(i+1))
					at := slices.Index(tr.args, other.addr)
					tr.args[at] = "tcp://" + way[i][j].addr
				}
			}
			s.startAll()
			l := newLedger()
			town := s.settle(l)
			set := func(a, b int, how cut) {
				way[a][b].set(how)
				way[b][a].set(how)
			}
			for k := range sized(6, 30) {
				l.progress(s, 100)
				a, b, c := k%3, (k+1)%3, (k+2)%3
				set(a, b, how)
				if k%2 == 0 {
					set(a, c, how) // a is alone, or has a way through c
				}
				l.progress(s, sized(300, 3000))
				set(a, b, passing)
				set(a, c, passing)
			}
			town.close()
			l.check(s)
		})
	}
}

func TestOneOfThreeOnAnEmptyDiskOrABackupAgreesAgain(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newTrio(t, "--lease", "24h", "--ack", "peer", "--admin", "127.0.0.1:0")
	s.startAll()
	l := newLedger()
	for k := range sized(3, 12) {
		s.inStep() // or an answer of one that is alone yet is for its own disk
		town := s.settle(l)
		l.progress(s, 100)
		x := s.trackers[k%3]
		file := s.path(x.name + ".db")
		x.Kill()
		backup, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l.progress(s, 100)
		x.start()
		s.inStep()
		l.progress(s, 100)
		x.Kill()
		if k%2 == 0 {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, backup, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.progress(s, 100)
		x.start()
		town.close()
		l.check(s)
	}
}
