package e2e

import (
	"strings"
	"testing"
)

func TestSharedFileIsListedByBothTrackers(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	s.allList(s.id("x.mtorrent"), whole(sharer)...)
}

func TestOneTrackerDownFromTheStart(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t, i != 0, i != 1)
			down, up := s.trackers[i], s.trackers[1-i]
			s.write("data", 3*pieceSize, 1)
			sharer := s.client(10, "sharer")
			sharer.do("share data x.mtorrent")
			downloader := s.client(20, "downloader")
			downloader.do("get x.mtorrent copy")
			downloader.do("wait")
			s.same("data", "copy")
			s.lists([]*tracker{up}, s.id("x.mtorrent"), whole(sharer, downloader))
			down.start()
			s.allList(s.id("x.mtorrent"), whole(sharer, downloader)...)
		})
	}
}

func TestSharingWithoutTrackersIsAnnouncedLater(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	s.write("data", 3*pieceSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	sharer.shows("[S] data")
	downloader := s.client(20, "downloader")
	downloader.do("get x.mtorrent copy")
	downloader.shows("[D] data")
	for _, tr := range s.trackers {
		tr.start()
	}
	downloader.do("wait")
	s.same("data", "copy")
	s.allList(s.id("x.mtorrent"), whole(sharer, downloader)...)
}

func TestTransferOutlivesAKilledTracker(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newSwarm(t)
	s.write("data", bigSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(sharer)...)
	first := s.client(20, "first", "--transport", "quic")
	first.do("get x.mtorrent copy-1")
	if !first.reaches(5) {
		t.Log("the download was over before the tracker was killed")
	}
	s.trackers[0].Kill()
	second := s.client(21, "second") // knows of the survivor alone
	second.do("get x.mtorrent copy-2")
	for i, d := range []*client{first, second} {
		d.do("wait")
		i := string(rune('1' + i))
		s.same("data", "copy-"+i)
	}
	s.lists(s.trackers[1:], id, whole(sharer, first, second))
	s.trackers[0].start()
	s.allList(id, whole(sharer, first, second)...)
}

func TestAnsweredShareSurvivesTheKillOfBothTrackers(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	sharer := s.client(10, "sharer")
	answer := sharer.do("share data x.mtorrent")
	for _, tr := range s.trackers {
		tr.Kill()
	}
	if strings.Contains(answer, "later") {
		t.Fatalf("with both trackers up, share answers %q", answer)
	}
	sharer.Kill() // so that nobody can announce it anew
	for _, tr := range s.trackers {
		tr.start()
	}
	s.allList(s.id("x.mtorrent"), whole(sharer)...)
}

func TestRemoveTakesTheRowOffBothTrackers(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	s.write("other", 2000, 2)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	sharer.do("share other y.mtorrent")
	x, y := s.id("x.mtorrent"), s.id("y.mtorrent")
	s.allList(x, whole(sharer)...)
	sharer.do("remove x.mtorrent")
	s.allList(x)
	s.allList(y, whole(sharer)...)
	if s.exists("x.mtorrent") {
		t.Error("remove leaves the .mtorrent")
	}
	if !s.exists("data") {
		t.Error("remove deletes the file itself")
	}
	sharer.shows("[S] other")
	sharer.refuses("remove x.mtorrent")
}

func TestQuitTakesTheClientOutOfAllLists(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*client){
		"quit": (*client).quit,
		"end of input": func(c *client) {
			c.CloseInput()
			if err := c.Wait(c.s.ctx); err != nil {
				c.s.Fatal(err)
			}
		},
		"SIGTERM": func(c *client) {
			terminate(c.s.T, c.Process)
			// Commands that might have come were cut off: that is no success.
			if _, errs, code := c.s.ends(c.Process); code != 130 {
				c.s.Errorf("exit code %d, %q", code, errs)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			s.write("data", 1000, 1)
			s.write("other", 2000, 2)
			stays := s.client(10, "stays")
			stays.do("share data x.mtorrent")
			leaves := s.client(20, "leaves")
			leaves.do("share other y.mtorrent")
			leaves.do("get x.mtorrent copy")
			leaves.do("wait")
			x, y := s.id("x.mtorrent"), s.id("y.mtorrent")
			s.allList(x, whole(stays, leaves)...)
			s.allList(y, whole(leaves)...)
			end(leaves)
			s.allList(x, whole(stays)...)
			s.allList(y)
			if !s.exists("x.mtorrent") || !s.exists("y.mtorrent") || !s.exists("copy") {
				t.Error("quit deletes files")
			}
		})
	}
}

func TestTrackerEndsGracefullyAndKeepsItsList(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 1000, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	s.allList(s.id("x.mtorrent"), whole(sharer)...)
	sharer.Kill()
	for _, tr := range s.trackers {
		terminate(t, tr.Process)
		if err := tr.Wait(s.ctx); err != nil {
			t.Fatal(err)
		}
	}
	s.trackers[1].start()
	s.lists(s.trackers[1:], s.id("x.mtorrent"), whole(sharer))
}
