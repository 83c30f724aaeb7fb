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

// close lets the thread end, and with it the namespace.
func (p *Place) close() {
	close(p.calls)
	<-p.ended
	_ = p.tun.Close() // it may be closed already
}

// run holds the namespace. Its thread is never given back to the scheduler.
func (p *Place) run(ready chan<- error) {
	defer close(p.ended)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		ready <- os.NewSyscallError("unshare", err)
		return
	}
	var err error
	if p.tun, err = openTUN(p.IP); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for call := range p.calls {
		call()
	}
}
