// Package address owns the written form of a place to reach: "host:port", to
// be dialled over any transport, or "tcp://host:port" and "quic://host:port"
// to insist on one.
package address

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// MaxLen bounds an address in bytes: a DNS name (253, RFC 1035) with scheme,
// brackets and port.
const MaxLen = 280

// Schemes are the transports that an address may insist on.
var Schemes = []string{"tcp", "quic"}

// Address is a parsed address. Scheme is empty when any transport will do.
type Address struct {
	Scheme string
	Host   string // an IP without brackets, or a DNS name
	Port   uint16
}

// HostPort is the form that net.Dial takes.
func (a Address) HostPort() string {
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

// String is the canonical form; Parse returns the same Address for it.
func (a Address) String() string {
	if a.Scheme == "" {
		return a.HostPort()
	}
	return a.Scheme + "://" + a.HostPort()
}

// Parse reads an address. The error says what is wrong with s, without
// repeating s.
func Parse(s string) (Address, error) {
	if len(s) > MaxLen {
		return Address{}, fmt.Errorf("longer than %d bytes", MaxLen)
	}
	var a Address
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if !known(scheme) {
			return Address{}, fmt.Errorf("unknown scheme %q: want %s", scheme, strings.Join(Schemes, " or "))
		}
		a.Scheme, s = scheme, rest
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, errors.New("want host:port (an IPv6 host in brackets)")
	}
	if err := checkHost(host); err != nil {
		return Address{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(n, 10) {
		return Address{}, fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	a.Host, a.Port = host, uint16(n)
	return a, nil
}

func known(scheme string) bool {
	for _, s := range Schemes {
		if s == scheme {
			return true
		}
	}
	return false
}

func checkHost(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	for _, r := range host {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune(".-_:%", r)
		if !ok {
			return fmt.Errorf("the host holds %q", r)
		}
	}
	return nil
}
