package e2e

import "testing"

// tomorrow is a tracker whose clock is a day ahead.
var tomorrow = edit{"roles/tracker/registry/core.go", `func (c *core) begin(wall, mono int64) *batch {
`, `func (c *core) begin(wall, mono int64) *batch {
	wall += 24 * 3600 * 1000
`}

func TestTrackersWhoseClocksAreADayApartAgree(t *testing.T) {
	t.Parallel()
	heavy(t)
	ahead := newer(t, "mtor-tomorrow", tomorrow)
	s := newPair(t, "--lease", "24h")
	a, b := s.trackers[0], s.trackers[1]
	b.exe = ahead
	toB, toA := s.relay(s.ip(2), b.addr, s.ip(1)), s.relay(s.ip(1), a.addr, s.ip(2))
	a.args[2], b.args[2] = "tcp://"+toB.addr, "tcp://"+toA.addr
	s.startAll()
	l := newLedger()
	for k := range sized(3, 10) {
		town := s.settle(l)
		l.progress(s, 200)
		toB.set(severed)
		toA.set(severed)
		l.progress(s, sized(500, 5000)) // clients move between them meanwhile
		toB.set(passing)
		toA.set(passing)
		l.progress(s, 100)
		// Nobody may wait for an answer when a tracker is killed: what was done
		// without one, by a clock that is ahead, stands above what the client does
		// elsewhere, until its next renewal. These clients never renew.
		town.close()
		x := s.trackers[k%2] // its clock is set: forward, or back
		x.Kill()
		if x.exe == "" {
			x.exe = ahead
		} else {
			x.exe = ""
		}
		x.start()
	}
	l.check(s)
}
