package registry

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mtor-dev/mtor/torrentfmt"
)

type world struct {
	*history
	t         *rapid.T
	users     []*user
	transfers []*transfer
	reports   []heard
	repairs   []*mending
	cut       map[[2]*node]bool
}

func newWorld(t *rapid.T) *world {
	count := rapid.SampledFrom([]int{2, 2, 2, 3, 3, 4, 5}).Draw(t, "trackers")
	w := &world{history: newHistory(count), t: t, cut: map[[2]*node]bool{}}
	for i := range rapid.IntRange(1, 3).Draw(t, "clients") {
		var a Addr
		a[17] = byte(i + 1)
		var key NodeID
		if rapid.Bool().Draw(t, "keyed") {
			key[0] = byte(i + 1)
		}
		w.users = append(w.users, &user{addr: a, node: key, at: w.nodes[0], has: map[torrentfmt.ID]bool{}, sure: true})
	}
	return w
}

func (w *world) node(name string) *node { return rapid.SampledFrom(w.nodes).Draw(w.t, name) }
func (w *world) user() *user            { return rapid.SampledFrom(w.users).Draw(w.t, "client") }

// check is run after each step.
func (w *world) check(t *rapid.T) {
	w.claims(t)
	for _, u := range w.users {
		u.sure = u.sure && !w.revived[u.addr]
	}
	clear(w.revived)
}

func (w *world) heal() {
	for len(w.transfers) > 0 {
		w.drop(w.transfers[0])
	}
	clear(w.cut)
	w.reports, w.repairs = nil, nil
	for range 2 {
		for _, to := range w.nodes {
			for _, from := range w.nodes {
				if to == from {
					continue
				}
				w.pull(to, from)
				to.sweep()
			}
		}
	}
	if w.restored {
		// Some may hold what others have dropped of that which they beat.
		w.compareAll()
	}
}

// TestTrackersConverge runs random schedules of requests, cuts, crashes and
// clock jumps against two to five trackers. Whatever happened, once they can
// talk they agree; what a client was told is so; and a client that was in
// doubt is right after its next renewal.
func TestTrackersConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		// Most schedules do without, or nobody would be sure of anything.
		restore := func(t *rapid.T) { t.Skip() }
		lose := restore
		if rapid.IntRange(0, 2).Draw(t, "restores") == 0 {
			restore, lose = w.restoreAction, w.loseAction
		}
		t.Repeat(map[string]func(*rapid.T){
			"announce":  w.announceAction,
			"announce2": w.announceAction,
			"remove":    w.removeAction,
			"leave":     w.leaveAction,
			"renew":     w.renewAction,
			"intrude":   w.intrudeAction,
			"expire":    w.expireAction,
			"crash":     w.crashAction,
			"sweep":     w.sweepAction,
			"backup":    w.backupAction,
			"restore":   restore,
			"lose":      lose,
			"clock":     w.clockAction,
			"connect":   w.connectAction,
			"step":      w.stepAction,
			"step2":     w.stepAction,
			"run":       w.runAction,
			"cut":       w.cutAction,
			"partition": w.partitionAction,
			"report":    w.reportAction,
			"hear":      w.hearAction,
			"exchange":  w.exchangeAction,
			"sync":      w.syncAction,
			"tidy":      w.tidyAction,
			"quiet":     w.quietAction,
			"compare":   w.compareAction,
			"mend":      w.mendAction,
			"":          w.check,
		})
		w.t = t
		w.heal()
		w.check(t)
		w.agree("healed")
		w.settle()
		w.idle()
		w.agree("settled")
		w.damage()
		w.compareAll()
		w.check(t)
		w.agree("mended")
		sure := func(u *user) bool { return u.sure }
		got := slices.DeleteFunc(w.nodes[0].listed(), func(s string) bool {
			return !slices.ContainsFunc(w.users, func(u *user) bool {
				return u.sure && s[2:3] == fmt.Sprint(u.addr[17])
			})
		})
		if want := w.expect(sure); !slices.Equal(got, want) {
			t.Fatalf("healed: listed %q, acknowledged %q", got, want)
		}
		for _, u := range w.users {
			u.sure = false
			for !u.sure {
				u.sure = true
				w.renew(u)
			}
		}
		w.heal()
		w.settle()
		w.check(t)
		w.agree("renewed")
		if got, want := w.nodes[0].listed(), w.expect(func(*user) bool { return true }); !slices.Equal(got, want) {
			t.Fatalf("renewed: listed %q, shared %q", got, want)
		}
	})
}
