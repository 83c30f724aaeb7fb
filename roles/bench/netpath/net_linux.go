package netpath

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// The addresses exist only inside the two namespaces.
const (
	nearIP = "10.99.0.1"
	farIP  = "10.99.0.2"
)

// ErrRights is what New returns to root in a container that may not do
// everything.
var ErrRights = errors.New("an emulated path needs network namespaces and TUN devices, which this process may not make: it needs CAP_SYS_ADMIN and CAP_NET_ADMIN")

// Check says whether this process can join places by a path: nil, or in a word
// why not and what to do about it.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("an emulated path needs network namespaces and TUN devices, which are root's: run this as root")
	}
	if _, err := os.Stat(tunDevice); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("an emulated path needs %s: modprobe tun may bring it", tunDevice)
	}
	return nil
}

// Net is two places and the path between them.
type Net struct {
	Near, Far *Place

	began time.Time
	ways  [2]*way
	tasks sync.WaitGroup
}

// New makes two places and joins them by p. Close must follow.
func New(p Path) (_ *Net, err error) {
	if err := errors.Join(p.Check(), Check()); err != nil {
		return nil, err
	}
	n := &Net{began: time.Now()}
	if n.Near, err = newPlace(nearIP); err != nil {
		return nil, err
	}
	if n.Far, err = newPlace(farIP); err != nil {
		n.Near.close()
		return nil, err
	}
	n.ways = [2]*way{
		newWay(p, n.Near.tun, n.Far.tun, rand.New(rand.NewPCG(1, 1))),
		newWay(p, n.Far.tun, n.Near.tun, rand.New(rand.NewPCG(2, 2))),
	}
	for _, w := range n.ways {
		n.tasks.Go(func() { w.take(n.began) })
		n.tasks.Go(func() { w.deliver(n.began) })
	}
	return n, nil
}

// Set changes the path for the packets that come from now on.
func (n *Net) Set(p Path) error {
	if err := p.Check(); err != nil {
		return err
	}
	for _, w := range n.ways {
		w.set(p)
	}
	return nil
}

// Stats counts since New.
func (n *Net) Stats() Stats {
	var s Stats
	for _, w := range n.ways {
		w.mu.Lock()
		s.Carried += w.stats.Carried
		s.Lost += w.stats.Lost
		s.Dropped += w.stats.Dropped
		w.mu.Unlock()
	}
	return s
}

// Close takes both places away. The processes in them are their owners' to end,
// and before.
func (n *Net) Close() {
	for _, p := range []*Place{n.Near, n.Far} {
		_ = p.tun.Close() // ends what reads from it; nothing is kept in it
	}
	for _, w := range n.ways {
		close(w.stop)
	}
	n.tasks.Wait()
	for _, p := range []*Place{n.Near, n.Far} {
		p.close()
	}
}
