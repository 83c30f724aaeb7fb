package tcp

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

// userTimeout is how long what was sent may stay without an acknowledgement
// before the kernel gives the connection up (RFC 5482): a peer whose machine has
// vanished is noticed while it owes something, not only when the line is idle.
// It is that of writeStall, since it means the same.
const userTimeout = writeStall

// control chooses the congestion control of a socket before it connects or
// listens. Accepted sockets inherit that of the listening one.
func (o Options) control(_, _ string, c syscall.RawConn) error {
	if o.Congestion == "" {
		return nil
	}
	var setErr error
	err := c.Control(func(fd uintptr) {
		if setErr = setCongestion(fd, o.Congestion); setErr != nil {
			setErr = fmt.Errorf("congestion control %s: %w", o.Congestion, setErr)
		}
	})
	if err != nil {
		return err
	}
	return setErr
}

// SetCongestion chooses the congestion control of a connection; see
// Options.Congestion.
func SetCongestion(c *net.TCPConn, name string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return Options{Congestion: name}.control("", "", raw)
}

// keepAlives are how the kernel asks an idle connection: after keepAlive, then
// every few seconds, and a peer that owes that many answers is gone.
const (
	keepAliveEvery = 5 * time.Second
	keepAliveCount = 3
)

var keepAlives = net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAliveEvery, Count: keepAliveCount}
