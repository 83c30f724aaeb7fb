package main

import (
	"log/slog"
	"net/netip"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// transports makes the table to listen on, which holds every transport, and the
// one to dial, as the setting says. A congestion control that this machine lacks
// is told to the log, and left. A role dials from the IP that it listens
// on, since that is the one it is known by; from any for an unspecified one.
func transports(addr, setting, congestion string, log *slog.Logger) (listen, dial transport.Table, err error) {
	own, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, nil, err
	}
	ip := own.Addr()
	if ip.IsUnspecified() {
		ip = netip.Addr{}
	}
	overQUIC, err := quic.New(quic.Options{LocalIP: ip, Log: log})
	if err != nil {
		return nil, nil, err
	}
	if congestion != "" {
		if err := tcp.CheckCongestion(congestion); err != nil {
			log.Warn("TCP keeps the system's congestion control", "error", err)
			congestion = ""
		}
	}
	listen = transport.Table{tcp.New(tcp.Options{LocalIP: ip, Congestion: congestion}), overQUIC}
	dial, err = listen.Only(config.Schemes(setting)...)
	return listen, dial, err
}
