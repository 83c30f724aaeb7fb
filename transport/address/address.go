// Package address owns the written form of a place to reach: "host:port", to
// be dialled over any transport, or "tcp://host:port", "tls://host:port" and
// "quic://host:port" to insist on one.
package address

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// MaxLen bounds an address in bytes: a DNS name (253, RFC 1035) with scheme,
// brackets and port.
const MaxLen = 280

// Schemes are the transports that an address may insist on.
var Schemes = []string{"tcp", "tls", "quic"}

// Address is a parsed address. Two spellings of one address parse to equal
// values: IPs are in their canonical form (RFC 5952; an IPv4 address is never
// mapped into IPv6) and DNS names in lower case.
type Address struct {
	Scheme string // empty when any transport will do
	Host   string // an IP without brackets, or a DNS name
	Port   uint16 // 0 means any free port, to listen on
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
		if !slices.Contains(Schemes, scheme) {
			return Address{}, fmt.Errorf("unknown scheme %q: want %s", scheme, strings.Join(Schemes, ", "))
		}
		a.Scheme, s = scheme, rest
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, errors.New("want host:port (an IPv6 host in brackets)")
	}
	if a.Host, err = parseHost(host, s[0] == '['); err != nil {
		return Address{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(n, 10) {
		return Address{}, fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	a.Port = uint16(n)
	return a, nil
}
