//go:build unix

package e2e

import "testing"

// A frozen client is as one whose cable was pulled: its sessions stay open and
// nothing comes over them. When it goes on, it finds that its trackers no
// longer list it, and announces itself without being told to.
func TestFrozenClientLeavesBothListsAndComesBackByItself(t *testing.T) {
	t.Parallel()
	s := newPair(t, "--lease", shortLease)
	s.startAll()
	s.write("data", 1000, 1)
	s.write("other", 1000, 2)
	frozen, stays := s.client(10, "frozen"), s.client(11, "stays")
	frozen.do("share data x.mtorrent")
	stays.do("share other y.mtorrent")
	x, y := s.id("x.mtorrent"), s.id("y.mtorrent")
	s.allList(x, whole(frozen)...)
	freeze(t, frozen.Process)
	s.allList(x)
	s.allList(y, whole(stays)...)
	thaw(t, frozen.Process)
	s.allList(x, whole(frozen)...)
}
