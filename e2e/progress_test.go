package e2e

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// percent asks how far the client's only download is; 100 means whole, -1 that
// the client has not looked yet, right after its start.
func (c *client) percent() int {
	c.s.Helper()
	line := c.do("show downloads")
	if strings.HasPrefix(line, "[?] ") {
		return -1
	}
	if strings.HasPrefix(line, "[S] ") {
		return 100
	}
	m := regexp.MustCompile(`^\[D\] .* (\d{1,2})% [\d.]+ \w+/s `).FindStringSubmatch(line)
	if m == nil {
		c.s.Fatalf("%s: show downloads says %q", c.name, line)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		c.s.Fatal(err)
	}
	return n
}

// reaches asks again and again until the client's only download is that far,
// and reports whether it was caught before it was whole.
func (c *client) reaches(percent int) (caught bool) {
	c.s.Helper()
	tick := time.NewTicker(5 * time.Millisecond) // a poll costs the transfer processor time
	defer tick.Stop()
	for {
		n := c.percent()
		if n >= percent {
			return n < 100
		}
		select {
		case <-tick.C:
		case <-c.s.ctx.Done():
			c.s.Fatalf("%s is at %d%%: want %d%%", c.name, n, percent)
		}
	}
}

// requireIP skips a test on a machine without that loopback address.
func requireIP(t *testing.T, ip string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skipf("this machine has no %s: %v", ip, err)
	}
	l.Close()
}
