package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
)

// dialAddresses bounds how many addresses of one DNS name are tried.
const dialAddresses = 8

// dial implements transport.Transport. The addresses of a DNS name are tried
// in the order of the answer, each transport.FallbackDelay after the one
// before: a port that is closed says so on TCP, but is silent on UDP.
func (c *carrier) dial(ctx context.Context, hostPort string) (transport.Session, error) {
	addrs, err := c.resolve(ctx, hostPort)
	if err != nil {
		return nil, &transport.DialError{Scheme: Scheme, Addr: hostPort, Err: err}
	}
	attempts := make(transport.Table, len(addrs))
	for i, addr := range addrs {
		attempts[i] = transport.Transport{
			Scheme: Scheme,
			Dial: func(ctx context.Context, _ string) (transport.Session, error) {
				s, err := c.dialAddr(ctx, addr)
				if err != nil {
					return nil, &transport.DialError{Scheme: Scheme, Addr: addr.String(), Err: err}
				}
				return s, nil
			},
		}
	}
	return attempts.Dial(ctx, hostPort)
}

// resolve returns the addresses that hostPort stands for, of the family of the
// IP to dial from, in the resolver's order.
func (c *carrier) resolve(ctx context.Context, hostPort string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("cannot dial port %q", portText)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		ip = ip.Unmap()
		if c.localIP.IsValid() && c.localIP.Is4() != ip.Is4() {
			continue
		}
		addrs = append(addrs, netip.AddrPortFrom(ip, uint16(port)))
		if len(addrs) == dialAddresses {
			break
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address of the family of %s, to dial from", host, c.localIP)
	}
	return addrs, nil
}

func (c *carrier) dialAddr(ctx context.Context, remote netip.AddrPort) (*session, error) {
	local := c.localIP
	if !local.IsValid() || local.IsUnspecified() {
		var err error
		if local, err = sourceFor(ctx, remote); err != nil {
			return nil, err
		}
	}
	socket, err := c.bind(ctx, network(local), netip.AddrPortFrom(local, 0).String(), nil)
	if err != nil {
		return nil, err
	}
	conn, err := socket.quic.Dial(ctx, net.UDPAddrFromAddrPort(remote), c.client, c.config)
	if err != nil {
		_ = socket.release() // the dialling error is the one to tell
		return nil, dialFailure(err)
	}
	return newSession(conn, socket), nil
}

// dialFailure adds what silence may mean: on UDP a closed port, a dead host
// and a firewall look alike.
func dialFailure(err error) error {
	_, silent := errors.AsType[*quicgo.IdleTimeoutError](err)
	_, slow := errors.AsType[*quicgo.HandshakeTimeoutError](err)
	if silent || slow {
		return fmt.Errorf("no answer: nobody listens there, or UDP is blocked: %w", err)
	}
	return refusal(err)
}

// sourceFor returns the IP from which the system would reach remote. A
// connected UDP socket knows it without sending anything, and fails at once
// where there is no route; a socket bound to it reports its real address.
func sourceFor(ctx context.Context, remote netip.AddrPort) (netip.Addr, error) {
	var d net.Dialer
	probe, err := d.DialContext(ctx, network(remote.Addr()), remote.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = probe.Close() }() // nothing was sent on it
	udp, ok := probe.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, errors.New("the system names no source address")
	}
	return udp.AddrPort().Addr().Unmap(), nil
}

// network is the family of ip in the words of package net.
func network(ip netip.Addr) string {
	if ip.Is4() {
		return "udp4"
	}
	return "udp6"
}
