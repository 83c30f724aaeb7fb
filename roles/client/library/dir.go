package library

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the default state folder of the client at clientAddr (ip:port):
// $XDG_STATE_HOME/mtor/<ip>_<port>, where an unset or relative XDG_STATE_HOME
// is ~/.local/state (XDG Base Directory Specification) and the colons of an
// IPv6 address become dashes. Port 0 names no client: its folder must be given.
func Dir(clientAddr string) (string, error) {
	addr, err := netip.ParseAddrPort(clientAddr)
	if err != nil {
		return "", fmt.Errorf("client address %q: want ip:port: %w", clientAddr, err)
	}
	if addr.Port() == 0 {
		return "", errors.New("port 0 is another one at every start: give the state folder")
	}
	if strings.ContainsAny(addr.Addr().Zone(), `/\`) {
		return "", fmt.Errorf("client address %q: its zone names no interface", clientAddr)
	}
	base, err := Base()
	if err != nil {
		return "", err
	}
	ip := strings.ReplaceAll(addr.Addr().String(), ":", "-")
	return filepath.Join(base, fmt.Sprintf("%s_%d", ip, addr.Port())), nil
}

// Base is the folder that the default state folders of all clients are in.
func Base() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no default state folder: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "mtor"), nil
}
