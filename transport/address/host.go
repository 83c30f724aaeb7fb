package address

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxName  = 253 // bytes of a DNS name as written (RFC 1035, section 2.3.4)
	maxLabel = 63  // bytes of one of its labels
	maxZone  = 32  // bytes of an IPv6 zone; Linux allows 15, others some more
)

// parseHost returns the canonical form of a host. bracketed tells that it was
// written in brackets, which only an IPv6 address is.
func parseHost(host string, bracketed bool) (string, error) {
	switch {
	case host == "":
		return "", errors.New("the host is missing")
	case strings.Contains(host, ":"):
		return parseIPv6(host)
	case bracketed:
		return "", errors.New("only an IPv6 address stands in brackets")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String(), nil
	}
	return parseName(host)
}

func parseIPv6(host string) (string, error) {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", errors.New("the host is no IPv6 address")
	}
	if ip = ip.Unmap(); ip.Zone() == "" {
		return ip.String(), nil
	}
	// A zone names an interface of this machine (RFC 4007, section 11), which
	// means something for link-local addresses alone.
	if !ip.IsLinkLocalUnicast() {
		return "", errors.New("only a link-local IPv6 address has a zone")
	}
	if len(ip.Zone()) > maxZone {
		return "", fmt.Errorf("the zone is longer than %d bytes", maxZone)
	}
	for _, r := range ip.Zone() {
		if !isAlphanumeric(r) && !strings.ContainsRune(".-_", r) {
			return "", fmt.Errorf("the zone holds %q", r)
		}
	}
	return ip.String(), nil
}

// parseName checks a DNS name (RFC 1123, section 2.1): labels of letters,
// digits and hyphens. Underscores are allowed too, as container networks name
// machines with them, and so is the dot at the end of an absolute name.
func parseName(host string) (string, error) {
	name := strings.TrimSuffix(host, ".")
	if len(name) > maxName {
		return "", fmt.Errorf("the host is longer than %d bytes", maxName)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	// "127.1" and "0x7f000001" are addresses to some resolvers and names to
	// others; no top-level domain looks like a number.
	if last := labels[len(labels)-1]; looksNumeric(last) {
		return "", errors.New("the host is neither an IPv4 address nor a name")
	}
	return strings.ToLower(host), nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("the host has an empty label")
	case len(label) > maxLabel:
		return fmt.Errorf("the host has a label longer than %d bytes", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a label of the host begins or ends with a hyphen")
	}
	for _, r := range label {
		if !isAlphanumeric(r) && r != '-' && r != '_' {
			return fmt.Errorf("the host holds %q", r)
		}
	}
	return nil
}

func looksNumeric(label string) bool {
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		label, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
