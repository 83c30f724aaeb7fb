package process

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Port numbers are picked below the range from which systems take those that
// nobody names, so that nothing but another listener can hold one when a process
// binds it, or returns to it after it was killed.
const (
	firstPort    = 20_000
	lastPort     = 32_000
	portAttempts = 200
)

// Reserve finds n addresses of an IP whose port is free for TCP and UDP now, for
// processes that must know each other's before either is bound.
func Reserve(ctx context.Context, ip string, n int) ([]string, error) {
	var addrs []string
	var last error
	var held []func() // until all are found, so that none is found twice
	defer func() {
		for _, release := range held {
			release()
		}
	}()
	for range portAttempts {
		addr := net.JoinHostPort(ip, strconv.Itoa(firstPort+rand.N(lastPort-firstPort)))
		release, err := bind(ctx, addr)
		if err != nil {
			last = err
			continue
		}
		held = append(held, release)
		if addrs = append(addrs, addr); len(addrs) == n {
			return addrs, nil
		}
	}
	return nil, fmt.Errorf("find a free port on %s: %w", ip, last)
}

func bind(ctx context.Context, addr string) (release func(), err error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	udp, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		_ = tcp.Close() // nothing was heard on it
		return nil, err
	}
	return func() { _, _ = tcp.Close(), udp.Close() }, nil
}
