package address

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// labels makes a name of n bytes out of labels of the greatest length.
func labels(n int) string {
	return strings.Repeat(strings.Repeat("a", maxLabel)+".", n/(maxLabel+1)+1)[:n-1] + "a"
}

func TestParseGivesTheCanonicalForm(t *testing.T) {
	for in, want := range map[string]Address{
		"127.0.0.1:1":                           {"", "127.0.0.1", 1},
		"0.0.0.0:0":                             {"", "0.0.0.0", 0},
		"[::]:0":                                {"", "::", 0},
		"[::1]:65535":                           {"", "::1", 65535},
		"[0:0:0:0:0:0:0:1]:1":                   {"", "::1", 1},
		"[2001:DB8::A]:1":                       {"", "2001:db8::a", 1},
		"[::ffff:10.0.0.1]:1":                   {"", "10.0.0.1", 1},
		"[fe80::1%eth0]:1":                      {"", "fe80::1%eth0", 1},
		"[fe80::1%Br-lan.7]:1":                  {"", "fe80::1%Br-lan.7", 1},
		"tcp://10.0.0.1:1":                      {"tcp", "10.0.0.1", 1},
		"quic://[::1]:1":                        {"quic", "::1", 1},
		"quic://Tracker.Example.COM:1":          {"quic", "tracker.example.com", 1},
		"localhost:1":                           {"", "localhost", 1},
		"example.com.:1":                        {"", "example.com.", 1},
		"tracker_1:1":                           {"", "tracker_1", 1},
		"3com.com:1":                            {"", "3com.com", 1},
		"xn--bcher-kva.example:1":               {"", "xn--bcher-kva.example", 1},
		labels(maxName) + ":1":                  {"", labels(maxName), 1},
		"quic://" + labels(maxName) + ".:65535": {"quic", labels(maxName) + ".", 65535},
	} {
		got, err := Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, why := range map[string]string{
		"":                                "want host:port",
		"host":                            "want host:port",
		"host:":                           "port",
		":1":                              "the host is missing",
		"[]:1":                            "the host is missing",
		"tcp://:1":                        "the host is missing",
		"tcp://":                          "want host:port",
		"::1:1":                           "want host:port",
		"[::1]":                           "want host:port",
		"[::1:1":                          "want host:port",
		"[host]:1":                        "brackets",
		"[127.0.0.1]:1":                   "brackets",
		"[::g]:1":                         "no IPv6 address",
		"[1:2:3]:1":                       "no IPv6 address",
		"[fe80::1%]:1":                    "no IPv6 address",
		"[::1%lo]:1":                      "link-local",
		"[2001:db8::1%eth0]:1":            "link-local",
		"[fe80::1%a/b]:1":                 "zone holds",
		"[fe80::1%eth0\x00]:1":            "zone holds",
		"[fe80::1%" + labels(33) + "]:1":  "zone is longer",
		"http://host:1":                   "unknown scheme",
		"TCP://host:1":                    "unknown scheme",
		"://host:1":                       "unknown scheme",
		"tcp://quic://host:1":             "want host:port",
		"host:-1":                         "port",
		"host:+1":                         "port",
		"host:01":                         "port",
		"host:65536":                      "port",
		"host:http":                       "port",
		"host:1 ":                         "port",
		" host:1":                         "the host holds",
		"ho st:1":                         "the host holds",
		"host/path:1":                     "the host holds",
		"user@host:1":                     "the host holds",
		"fe80%eth0:1":                     "the host holds",
		"bücher.example:1":                "the host holds",
		"host\n:1":                        "the host holds",
		".:1":                             "empty label",
		".host:1":                         "empty label",
		"host..:1":                        "empty label",
		"a..b:1":                          "empty label",
		"-a.b:1":                          "hyphen",
		"a-.b:1":                          "hyphen",
		"256.0.0.1:1":                     "neither an IPv4 address nor a name",
		"127.0.0.01:1":                    "neither an IPv4 address nor a name",
		"127.1:1":                         "neither an IPv4 address nor a name",
		"2130706433:1":                    "neither an IPv4 address nor a name",
		"0x7f000001:1":                    "neither an IPv4 address nor a name",
		"127.0.0.1.:1":                    "neither an IPv4 address nor a name",
		strings.Repeat("a", 64) + ":1":    "label longer than 63",
		labels(maxName+1) + ":1":          "longer than 253",
		strings.Repeat("a", MaxLen) + ":": "longer than 280",
	} {
		got, err := Parse(in)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Parse(%q) = %+v, %v; want an error with %q", in, got, err, why)
		}
		if got != (Address{}) {
			t.Errorf("Parse(%q) gave %+v along with its error", in, got)
		}
	}
}

func TestStringBracketsIPv6(t *testing.T) {
	for want, a := range map[string]Address{
		"quic://[fe80::1%eth0]:7": {"quic", "fe80::1%eth0", 7},
		"[::1]:0":                 {"", "::1", 0},
		"tcp://a.b:1":             {"tcp", "a.b", 1},
	} {
		if got := a.String(); got != want {
			t.Errorf("String of %+v is %q, want %q", a, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"127.0.0.1:6881", "tcp://[::1]:0", "quic://tracker.example.com.:65535", "[fe80::1%eth0]:1",
		"[::ffff:1.2.3.4]:1", "localhost:", "0x7f.1:1", "[[::1]]:1", "a_b-c.d:00", "tcp://tcp://a:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("%+v along with %v", a, err)
			}
			return
		}
		canonical := a.String()
		if len(canonical) > MaxLen {
			t.Fatalf("the canonical form of %q has %d bytes", s, len(canonical))
		}
		again, err := Parse(canonical)
		if err != nil || again != a {
			t.Fatalf("%q parses to %+v, its canonical form %q to %+v, %v", s, a, canonical, again, err)
		}
		host, _, err := net.SplitHostPort(a.HostPort())
		if err != nil || host != a.Host {
			t.Fatalf("HostPort of %+v is %q", a, a.HostPort())
		}
		if ip, err := netip.ParseAddr(a.Host); err == nil && (ip.String() != a.Host || ip.Is4In6()) {
			t.Fatalf("%q is not the canonical form of the IP", a.Host)
		}
	})
}
