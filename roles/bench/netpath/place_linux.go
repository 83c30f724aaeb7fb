package netpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Place is one end of a path: a network namespace with one address.
type Place struct {
	IP string

	tun   *os.File
	calls chan func()
	ended chan struct{}
}

func newPlace(ip string) (*Place, error) {
	p := &Place{IP: ip, calls: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go p.run(ready) // until close, which waits for it
	if err := <-ready; err != nil {
		<-p.ended
		if errors.Is(err, fs.ErrPermission) {
			return nil, ErrRights
		}
		return nil, fmt.Errorf("make a network namespace with a TUN device: %w", err)
	}
	return p, nil
}

// Do calls f on a thread in the place: sockets that f opens itself and
// processes that it starts belong to the place, but not what it leaves to other
// goroutines. Calls take turns.
func (p *Place) Do(f func() error) error {
	done := make(chan error)
	p.calls <- func() { done <- f() }
	return <-done
}

// close takes the thread out of the namespace, which ends.
func (p *Place) close() {
	close(p.calls)
	<-p.ended
	_ = p.tun.Close() // it may be closed already
}

// run holds the namespace, and gives its thread back to the scheduler only where it
// came from. To let the thread end instead would end other processes: the kernel
// sends a child its signal of PR_SET_PDEATHSIG when the thread that started it ends
// (prctl(2)), and this one may have started some before it was taken.
func (p *Place) run(ready chan<- error) {
	defer close(p.ended)
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	defer func() { _ = home.Close() }() // opened to read
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		ready <- os.NewSyscallError("unshare", err)
		return
	}
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	if p.tun, err = openTUN(p.IP); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for call := range p.calls {
		call()
	}
}
