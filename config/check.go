package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mtor-dev/mtor/transport/address"
	"github.com/mtor-dev/mtor/units"
)

// Validate implements [Settings].
func (c Tracker) Validate() error {
	if err := checkAddrs(c.Addr, c.Listen, c.Advertise); err != nil {
		return err
	}
	switch n := len(c.Peers); {
	case n == 0:
		return errorf("peers", "is missing: give the other tracker's ip:port")
	case n > MaxPeers:
		return errorf("peers", "%d trackers: at most %d are kept in step", n, MaxPeers)
	}
	if err := checkOthers("peers", c.Peers, c.OwnAddr(), "this tracker itself"); err != nil {
		return err
	}
	if err := checkPath("seederlist_file", c.SeederlistFile); err != nil {
		return err
	}
	if c.SeederlistFile == LogStderr {
		return errorf("seederlist_file", "- is not a file: the seeder list must outlive the tracker, so name a file")
	}
	if err := checkPath("log_file", c.LogFile); err != nil {
		return err
	}
	if filepath.Clean(c.LogFile) == filepath.Clean(c.SeederlistFile) {
		return errorf("log_file", "%q is the seederlist file too: give each its own file", c.LogFile)
	}
	if err := checkCommon(c.Log(), c.Transport); err != nil {
		return err
	}
	if err := checkPrivate(c.SwarmKeyFile, c.Transport, "peers", c.Peers); err != nil {
		return err
	}
	if c.Lease < MinLease || c.Lease > MaxLease {
		return errorf("lease", "%v is out of bounds: want %v to %v", c.Lease, MinLease, MaxLease)
	}
	if c.Ack != AckSelf && c.Ack != AckPeer {
		return errorf("ack", "%q is unknown: want %s or %s", c.Ack, AckSelf, AckPeer)
	}
	if _, err := c.Trusted(); err != nil {
		return err
	}
	if err := checkMetrics(c.Metrics, c.MetricsPprof); err != nil {
		return err
	}
	if c.Admin == "" {
		return nil
	}
	return CheckAdmin(c.Admin)
}

// CheckAdmin checks an address to be asked on. Whoever reaches it is answered,
// so it must be one that only this machine reaches. The error is an [*Error].
func CheckAdmin(s string) error {
	if err := checkOwn("admin", s); err != nil {
		return err
	}
	if a, err := netip.ParseAddrPort(s); err == nil && !a.Addr().IsLoopback() {
		return errorf("admin", "%q is reached by other machines: want a loopback address, such as 127.0.0.1:7001", s)
	}
	return nil
}

// Validate implements [Settings].
func (c Client) Validate() error {
	if err := checkAddrs(c.Addr, c.Listen, c.Advertise); err != nil {
		return err
	}
	switch n := len(c.Trackers); {
	case n == 0:
		return errorf("trackers", "is missing: give the ip:port of %d trackers", ClientTrackers)
	case n != ClientTrackers:
		return errorf("trackers", "%d given: want %d", n, ClientTrackers)
	}
	if err := checkOthers("trackers", c.Trackers, c.OwnAddr(), "this client itself"); err != nil {
		return err
	}
	if err := checkCommon(c.Log(), c.Transport); err != nil {
		return err
	}
	if err := checkPrivate(c.SwarmKeyFile, c.Transport, "trackers", c.Trackers); err != nil {
		return err
	}
	if own, err := netip.ParseAddrPort(c.OwnAddr()); err == nil && own.Port() == 0 && c.State == "" {
		return errorf("state", "is missing: with port 0 the client has no lasting address to name its state folder after, so give one")
	}
	if err := checkNoNUL("state", c.State); err != nil {
		return err
	}
	if err := checkNoNUL("socket", c.Socket); err != nil {
		return err
	}
	if n := len(c.Socket); n > maxSocket {
		return errorf("socket", "has %d bytes: the path of a socket has at most %d", n, maxSocket)
	}
	if err := checkCongestion(c.TCP.Congestion); err != nil {
		return err
	}
	if err := checkNoNUL("hooks.complete", c.Hooks.Complete); err != nil {
		return err
	}
	if c.MaxPeers < MinMaxPeers || c.MaxPeers > MaxMaxPeers {
		return errorf("max_peers", "%d is out of bounds: want %d to %d", c.MaxPeers, MinMaxPeers, MaxMaxPeers)
	}
	if c.MaxDownloads < 0 {
		return errorf("max_downloads", "%d is negative: want how many run at once, or 0 for any number", c.MaxDownloads)
	}
	if err := checkRate("upload_limit", c.UploadLimit); err != nil {
		return err
	}
	if err := checkRate("download_limit", c.DownloadLimit); err != nil {
		return err
	}
	if err := checkMetrics(c.Metrics, c.MetricsPprof); err != nil {
		return err
	}
	return c.checkWatch()
}

// checkMetrics checks the address that metrics are shown on. Numbers may be shown
// to everybody; profiles tell what is in memory, and each asker pays with the
// time of this process.
func checkMetrics(addr string, pprof bool) error {
	if addr == "" {
		if pprof {
			return errorf("metrics_pprof", "is set, but metrics is not: give the address to show profiles on")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errorf("metrics", "%q is not host:port, such as 127.0.0.1:9200 or :9200", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return errorf("metrics", "port %q is not a number from 0 to 65535", port)
	}
	if ip, err := netip.ParseAddr(host); pprof && host != "" && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return errorf("metrics_pprof", "%q is reached by other machines: profiles are shown on a loopback address only, such as 127.0.0.1:9200", addr)
	}
	return nil
}

// maxCongestion is how long a congestion control's name may be (TCP_CA_NAME_MAX
// of Linux, less its end).
const maxCongestion = 15

func checkCongestion(name string) error {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-' }
	if len(name) > maxCongestion || strings.ContainsFunc(name, odd) {
		return errorf("tcp.congestion", "%q is no name of a congestion control: want one such as bbr or cubic", name)
	}
	return nil
}

func checkRate(key string, r units.Rate) error {
	if err := r.Check(); err != nil {
		return errorf(key, "%v", err)
	}
	return nil
}

func (c Client) checkWatch() error {
	if len(c.Watch) > MaxWatch {
		return errorf("watch", "%d folders: want at most %d", len(c.Watch), MaxWatch)
	}
	if len(c.Watch) > 0 && c.WatchTo == "" {
		return errorf("watch_to", "is missing: give the folder that watched files are fetched into")
	}
	seen := map[string]bool{}
	for i, path := range c.Watch {
		key := fmt.Sprintf("watch[%d]", i)
		if path == "" {
			return errorf(key, "is empty: give a folder's path")
		}
		if err := checkNoNUL(key, path); err != nil {
			return err
		}
		if seen[filepath.Clean(path)] {
			return errorf(key, "%q is given twice", path)
		}
		seen[filepath.Clean(path)] = true
	}
	if c.WatchEvery < MinWatchEvery || c.WatchEvery > MaxWatchEvery {
		return errorf("watch_every", "%v is out of bounds: want %v to %v", c.WatchEvery, MinWatchEvery, MaxWatchEvery)
	}
	return checkNoNUL("watch_to", c.WatchTo)
}

func checkCommon(log Log, transport string) error {
	if err := checkPath("log_file", log.File); err != nil {
		return err
	}
	if _, err := Level(log.Level); err != nil {
		return err
	}
	if log.Format != LogText && log.Format != LogJSON {
		return errorf("log_format", "%q is unknown: want %s or %s", log.Format, LogText, LogJSON)
	}
	if log.MaxMiB < 0 || log.MaxMiB > MaxLogMiB {
		return errorf("log_max_mib", "%d is out of bounds: want 1 to %d, or 0 for no bound", log.MaxMiB, MaxLogMiB)
	}
	if log.Keep < 1 || log.Keep > MaxLogKeep {
		return errorf("log_keep", "%d is out of bounds: want 1 to %d", log.Keep, MaxLogKeep)
	}
	if Schemes(transport, false) == nil {
		return errorf("transport", "%q is unknown: want %s, %s, %s or %s", transport, TransportAuto, TransportTCP, TransportTLS, TransportQUIC)
	}
	return nil
}

// checkPrivate checks that nothing in the clear is asked for in a private swarm.
// others are the addresses to dial, checked already.
func checkPrivate(swarmKey, transport, key string, others []string) error {
	if swarmKey == "" {
		return nil
	}
	if Schemes(transport, true) == nil {
		return errorf("transport", "%q is in the clear, and a swarm key is given: want %s, %s or %s", transport, TransportAuto, TransportTLS, TransportQUIC)
	}
	for i, s := range others {
		if a, err := address.Parse(s); err == nil && a.Scheme == TransportTCP {
			return errorf(fmt.Sprintf("%s[%d]", key, i), "%q is in the clear, and a swarm key is given: want %s, or tls:// or quic:// before it", s, a.HostPort())
		}
	}
	return checkNoNUL("swarm_key_file", swarmKey)
}

// checkOwn checks an address to bind: it must be an IP of this machine, since
// a name may stand for several and peers are told the IP.
func checkOwn(key, s string) error {
	if s == "" {
		return errorf(key, "is missing: give ip:port, such as 127.0.0.1:7000")
	}
	if strings.Contains(s, "://") {
		return errorf(key, "%q has a scheme: want ip:port alone, TCP and QUIC are both listened on", s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errorf(key, "%q is not ip:port (an IPv6 address goes in brackets: [::1]:7000)", s)
	}
	if host == "" {
		return errorf(key, "%q lacks the IP: want one of this machine, or 0.0.0.0 or [::] for all", s)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return errorf(key, "%q is not an IP address: want one of this machine, such as 127.0.0.1; a host name is not taken here", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return errorf(key, "port %q is not a number from 0 to 65535", port)
	}
	if ip.Is4In6() {
		return errorf(key, "%q is an IPv4 address in IPv6 form: write %s", host, ip.Unmap())
	}
	if ip.IsMulticast() {
		return errorf(key, "%q is a multicast address: want one of this machine", host)
	}
	return nil
}

// checkOthers checks addresses to dial: each must be reachable in principle,
// none twice, none the role's own.
func checkOthers(key string, list []string, own, self string) error {
	seen := make(map[string]bool, len(list))
	for i, s := range list {
		item := fmt.Sprintf("%s[%d]", key, i)
		if s == "" {
			return errorf(item, "is empty: give ip:port")
		}
		a, err := address.Parse(s)
		if err != nil {
			return errorf(item, "%q: %v", s, err)
		}
		if a.Port == 0 {
			return errorf(item, "%q: port 0 cannot be dialled: give the port it listens on", s)
		}
		if ip, err := netip.ParseAddr(a.Host); err == nil && ip.IsUnspecified() {
			return errorf(item, "%q: %s stands for every address and cannot be dialled: give one it is reached at", s, ip)
		}
		p := place(a)
		if p == ownPlace(own) {
			return errorf(item, "%q is the address of %s", s, self)
		}
		if seen[p] {
			return errorf(item, "%q is given twice: give different ones", s)
		}
		seen[p] = true
	}
	return nil
}

// place is the same text for every way to write one host and port. The scheme
// is left out: TCP and QUIC share a port number and a listener.
func place(a address.Address) string {
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), a.Port).String()
	}
	a.Scheme, a.Host = "", strings.ToLower(strings.TrimSuffix(a.Host, "."))
	return a.String()
}

func ownPlace(own string) string {
	a, err := netip.ParseAddrPort(own)
	if err != nil {
		return ""
	}
	return a.String()
}

func checkPath(key, path string) error {
	if path == "" {
		return errorf(key, "is missing: give a file's path")
	}
	return checkNoNUL(key, path)
}

func checkNoNUL(key, path string) error {
	if strings.ContainsRune(path, 0) {
		return errorf(key, "holds a NUL byte")
	}
	return nil
}
