package config

import (
	"fmt"
	"net/netip"
)

// ListenAddr is the ip:port to bind.
func (c Tracker) ListenAddr() string { return first(c.Listen, c.Addr) }

// OwnAddr is the ip:port to be known by; its port may be 0 for the bound one.
func (c Tracker) OwnAddr() string { return first(c.Advertise, c.Addr, c.Listen) }

// ListenAddr is the ip:port to bind.
func (c Client) ListenAddr() string { return first(c.Listen, c.Addr) }

// OwnAddr is the ip:port to be listed as; its port may be 0 for the bound one.
func (c Client) OwnAddr() string { return first(c.Advertise, c.Addr, c.Listen) }

// first is the first that is not empty.
func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// checkAddrs checks the addresses that a role has for itself.
func checkAddrs(addr, listen, advertise string) error {
	if addr != "" || listen == "" {
		if err := checkOwn("addr", addr); err != nil {
			return err
		}
	}
	if listen != "" {
		if err := checkOwn("listen", listen); err != nil {
			return err
		}
	}
	if advertise == "" {
		return nil
	}
	if err := checkOwn("advertise", advertise); err != nil {
		return err
	}
	if a, err := netip.ParseAddrPort(advertise); err == nil && a.Addr().IsUnspecified() {
		return errorf("advertise", "%q is nowhere to be reached: give the address that others dial", advertise)
	}
	return nil
}

// Trusted are the networks of TrustAnnounced. The error is an [*Error].
func (c Tracker) Trusted() ([]netip.Prefix, error) {
	const key = "trust_announced"
	if len(c.TrustAnnounced) > MaxTrusted {
		return nil, errorf(key, "%d networks: want at most %d", len(c.TrustAnnounced), MaxTrusted)
	}
	var list []netip.Prefix
	for i, s := range c.TrustAnnounced {
		p, err := netip.ParsePrefix(s)
		if ip, ipErr := netip.ParseAddr(s); ipErr == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return nil, errorf(fmt.Sprintf("%s[%d]", key, i), "%q is no network: want CIDR such as 10.0.0.0/8, or an IP", s)
		}
		if p.Addr().Is4In6() {
			return nil, errorf(fmt.Sprintf("%s[%d]", key, i), "%q is an IPv4 network in IPv6 form: write it as IPv4", s)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}
