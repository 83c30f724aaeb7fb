package tracker

import (
	"context"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// silent has the dials of a tracker that is down fail only when they are given
// up, as those over UDP do.
func silent(table transport.Table) transport.Table {
	dial := table[0].Dial
	return transport.Table{{Scheme: table[0].Scheme, Listen: table[0].Listen, Dial: func(ctx context.Context, addr string) (transport.Session, error) {
		sess, err := dial(ctx, addr)
		if err != nil {
			<-ctx.Done()
		}
		return sess, err
	}}}
}

func TestTrackerThatIsBackIsFollowedAtOnceThoughDialsOfOneThatIsDownTakeLong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.change = func(o *Options) { o.Dial = silent(o.Dial) }
		w.pair()
		for k := range 10 {
			w.kill(addrB)
			w.pass(time.Minute + time.Duration(k)*dialTimeout/10) // at any moment of a dial
			w.start(addrB, addrA)
			w.pass(time.Second)
			for _, tracker := range []string{addrA, addrB} {
				if x := w.running[tracker].Status().Trackers[0]; !x.Connected || !x.Following {
					t.Fatalf("round %d: a second after, tracker %s has %+v", k, tracker, x)
				}
			}
		}
	})
}
