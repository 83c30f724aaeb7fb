//nolint:forbidigo // time.Sleep: all of it is virtual time
package announce

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func TestTroubleNamesTheTrackersUntilOneAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		const both = addrA + ", " + addrB
		says := func(want string) {
			t.Helper()
			got := ""
			if err := g.Trouble(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		g.o.Dialer = silent{g.o.Dialer, addrA}
		g.run()
		g.Put(id, content, false, true)
		synctest.Wait()
		says("no tracker has answered yet: " + both)
		time.Sleep(dialTimeout)
		synctest.Wait()
		says("no tracker can be reached: " + both)
		x := startTracker(t, tr, addrB, nil)
		time.Sleep(2 * dialTimeout)
		synctest.Wait()
		says("")
		x.kill()
		synctest.Wait()
		says("") // it may be that another is soon found
		time.Sleep(2 * dialTimeout)
		synctest.Wait()
		says("no tracker can be reached: " + both)
	})
}

// shut is a way to trackers that one of them refuses, for want of a swarm key.
type shut struct {
	Dialer
	addr string
	why  error
}

func (d shut) Dial(ctx context.Context, addr string) (transport.Session, error) {
	if addr == d.addr {
		return nil, fmt.Errorf("dial:\n%w", &transport.SessionError{Err: d.why})
	}
	return d.Dialer.Dial(ctx, addr)
}

func TestTroubleSaysWhichTrackerWantsASwarmKeyAndHowToGiveIt(t *testing.T) {
	for why, want := range map[error]string{
		transport.ErrClear:   "; " + addrB + " speaks only TLS and QUIC, as private swarms do: give the swarm's key with --swarm-key FILE",
		transport.ErrPrivate: "; " + addrB + " belongs to a private swarm: give the swarm's key with --swarm-key FILE",
		transport.ErrForeign: "; " + addrB + " holds another swarm key, or none: give its own with --swarm-key FILE, or leave it out",
		transport.ErrRefused: "; " + addrB + " refused this client's certificate: give the swarm's key with --swarm-key FILE, and look at both clocks",
		errors.New("no way"): "",
	} {
		bubble(t, func(t *testing.T, _ transport.Transport, g *rig, _ chan []wire.Seeder) {
			g.o.Dialer = shut{g.o.Dialer, addrB, why}
			g.run()
			g.Put(id, content, false, true)
			synctest.Wait()
			want := "no tracker can be reached: " + addrA + ", " + addrB + want
			if err := g.Trouble(); err == nil || err.Error() != want {
				t.Errorf("for %v: %v\nwant %s", why, err, want)
			}
		})
	}
}
