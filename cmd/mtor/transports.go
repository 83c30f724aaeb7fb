package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// carriers say what a role listens on and dials over.
type carriers struct {
	addr       string // to listen on
	setting    string // the transport setting
	congestion string // of TCP
	creds      *identity.Credentials
	log        *slog.Logger
	refused    func(transport.Refusal) // nil: nobody hears of them
}

// tables are the transports of a role, in order.
type tables struct {
	listen transport.Table // every one; TLS shares the listener of TCP
	dial   transport.Table // as the setting says
	keyed  transport.Table // those of dial that prove who is there
}

// tables makes a role's. In a private swarm there is none in the clear. A
// congestion control that this machine lacks is told to the log, and left. A
// role dials from the IP that it listens on, since that is the one it is known
// by; from any for an unspecified one.
func (c carriers) tables() (t tables, err error) {
	own, err := netip.ParseAddrPort(c.addr)
	if err != nil {
		return t, err
	}
	ip := own.Addr()
	if ip.IsUnspecified() {
		ip = netip.Addr{}
	}
	overQUIC, err := quic.New(quic.Options{LocalIP: ip, Credentials: c.creds, Refused: c.refused, Log: c.log})
	if err != nil {
		return t, err
	}
	if c.congestion != "" {
		if err := tcp.CheckCongestion(c.congestion); err != nil {
			c.log.Warn("TCP keeps the system's congestion control", "error", err)
			c.congestion = ""
		}
	}
	o := tcp.Options{
		LocalIP: ip, Congestion: c.congestion, Credentials: c.creds,
		Unread: transport.NewBudget(transport.UnreadBudget), Refused: c.refused,
	}
	plain, overTLS := tcp.New(o), tcp.NewTLS(o)
	t.listen = transport.Table{plain, overQUIC}
	if c.creds.Private() {
		t.listen = transport.Table{overTLS, overQUIC}
	}
	all := transport.Table{plain, overTLS, overQUIC}
	if t.dial, err = all.Only(config.Schemes(c.setting, c.creds.Private())...); err != nil {
		return t, err
	}
	if private := config.Schemes(c.setting, true); private != nil {
		t.keyed, err = all.Only(private...)
	}
	return t, err
}

// credentials are what a role proves itself with: the key in keyFile, which is
// made when it is missing, and the swarm key, if one is named.
func credentials(keyFile, swarmKeyFile string, log *slog.Logger) (*identity.Credentials, error) {
	var swarm *identity.Swarm
	if swarmKeyFile != "" {
		var err error
		if swarm, err = identity.OpenSwarm(swarmKeyFile); err != nil {
			return nil, keyError("swarm key", err)
		}
	}
	key, err := identity.OpenKey(keyFile)
	if err != nil {
		return nil, keyError("node key", aboutKey(keyFile, err))
	}
	creds := identity.New(key, swarm)
	log.Info("node key", "id", creds.ID(), "file", keyFile, "private", creds.Private())
	return creds, nil
}

// keyError marks what is to be mended at a key file as wrong settings.
func keyError(what string, err error) error {
	wrapped := fmt.Errorf("%s: %w", what, err)
	if errors.Is(err, identity.ErrReadable) || errors.Is(err, identity.ErrDamaged) {
		return usageError(wrapped)
	}
	return wrapped
}

// aboutKey has an error be about the key file that is wanted, where it names a
// temporary one beside that.
func aboutKey(file string, err error) error {
	beside := func(other string) bool { return filepath.Dir(other) == filepath.Dir(file) }
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path) && beside(path.Path):
		return &fs.PathError{Op: path.Op, Path: file, Err: path.Err}
	case errors.As(err, &link) && beside(link.New):
		return &fs.PathError{Op: link.Op, Path: file, Err: link.Err}
	}
	return err
}
