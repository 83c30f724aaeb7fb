package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func tracker(change func(*Tracker)) Tracker {
	c := TrackerDefaults()
	c.Addr = "127.0.0.1:7000"
	c.Peers = []string{"127.0.0.2:7000"}
	c.SeederlistFile = "t.db"
	c.LogFile = "t.log"
	change(&c)
	return c
}

func client(change func(*Client)) Client {
	c := ClientDefaults()
	c.Addr = "127.0.0.1:7100"
	c.Trackers = []string{"127.0.0.1:7000", "127.0.0.2:7000"}
	c.LogFile = "c.log"
	change(&c)
	return c
}

func TestGivenBeatsEnvironmentBeatsDefault(t *testing.T) {
	given := map[string]any{
		"addr": "127.0.0.1:7000", "peers": []string{"127.0.0.2:7000"},
		"seederlist_file": "t.db", "log_file": "t.log",
	}
	load := func() Tracker {
		t.Helper()
		l, err := Load(TrackerDefaults(), Sources{Given: given})
		if err != nil {
			t.Fatal(err)
		}
		return l.Settings
	}
	if diff := cmp.Diff(tracker(func(*Tracker) {}), load()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	t.Setenv("MTOR_LEASE", "30s")
	t.Setenv("MTOR_TRANSPORT", "quic")
	if c := load(); c.Lease != 30*time.Second || c.Transport != TransportQUIC {
		t.Errorf("environment not taken: lease %v, transport %q", c.Lease, c.Transport)
	}
	given["transport"] = "tcp"
	if c := load(); c.Transport != TransportTCP {
		t.Errorf("the environment beat the command line: transport %q", c.Transport)
	}
}

func TestEnvironmentAloneMakesAClient(t *testing.T) {
	t.Setenv("MTOR_ADDR", "127.0.0.1:7100")
	t.Setenv("MTOR_TRACKERS", "127.0.0.1:7000,127.0.0.2:7000")
	t.Setenv("MTOR_LOG_FILE", "c.log")
	t.Setenv("MTOR_MENU", "false")
	t.Setenv("MTOR_UPLOAD_LIMIT", "1.5MiB")
	got, err := Load(ClientDefaults(), Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(client(func(c *Client) { c.Menu, c.UploadLimit = false, 3<<19 }), got.Settings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEmptyEnvironmentVariableIsUnset(t *testing.T) {
	t.Setenv("MTOR_TRANSPORT", "")
	l, err := Load(TrackerDefaults(), Sources{})
	if err != nil || l.Settings.Transport != TransportAuto {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestWrongTypeNamesTheKey(t *testing.T) {
	for _, c := range []struct{ env, value, key, why string }{
		{"MTOR_LEASE", "soon", "lease", "duration such as"},
		{"MTOR_LEASE", "30", "lease", "duration such as"},
	} {
		t.Setenv(c.env, c.value)
		_, err := Load(TrackerDefaults(), Sources{})
		wantError(t, err, c.key, c.why)
	}
	t.Setenv("MTOR_UPLOAD_LIMIT", "fast")
	_, err := Load(ClientDefaults(), Sources{})
	wantError(t, err, "upload_limit", "20MB")
	t.Setenv("MTOR_UPLOAD_LIMIT", "")
	t.Setenv("MTOR_MENU", "perhaps")
	_, err = Load(ClientDefaults(), Sources{})
	wantError(t, err, "menu", "true or false")
	_, err = Load(ClientDefaults(), Sources{Given: map[string]any{"menu": true, "adress": "x"}})
	wantError(t, err, "settings", "adress")
}

func TestTrackerChecksNameTheKeyAndTheMend(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Tracker)
		key, why string
	}{
		"no address":      {func(c *Tracker) { c.Addr = "" }, "addr", "give ip:port"},
		"host name":       {func(c *Tracker) { c.Addr = "localhost:7000" }, "addr", "not an IP address"},
		"no port":         {func(c *Tracker) { c.Addr = "127.0.0.1" }, "addr", "not ip:port"},
		"bare IPv6":       {func(c *Tracker) { c.Addr = "::1" }, "addr", "brackets"},
		"no IP":           {func(c *Tracker) { c.Addr = ":7000" }, "addr", "0.0.0.0"},
		"big port":        {func(c *Tracker) { c.Addr = "127.0.0.1:65536" }, "addr", "65535"},
		"named port":      {func(c *Tracker) { c.Addr = "127.0.0.1:http" }, "addr", "65535"},
		"scheme":          {func(c *Tracker) { c.Addr = "tcp://127.0.0.1:7000" }, "addr", "has a scheme"},
		"4in6":            {func(c *Tracker) { c.Addr = "[::ffff:127.0.0.1]:7000" }, "addr", "write 127.0.0.1"},
		"multicast":       {func(c *Tracker) { c.Addr = "224.0.0.1:7000" }, "addr", "multicast"},
		"no peer":         {func(c *Tracker) { c.Peers = nil }, "peers", "other tracker"},
		"many peers":      {func(c *Tracker) { c.Peers = make([]string, MaxPeers+1) }, "peers", "at most"},
		"empty peer":      {func(c *Tracker) { c.Peers = []string{""} }, "peers[0]", "give ip:port"},
		"malformed peer":  {func(c *Tracker) { c.Peers = []string{"127.0.0.2"} }, "peers[0]", "host:port"},
		"peer's port 0":   {func(c *Tracker) { c.Peers = []string{"127.0.0.2:0"} }, "peers[0]", "port 0"},
		"peer 0.0.0.0":    {func(c *Tracker) { c.Peers = []string{"0.0.0.0:7000"} }, "peers[0]", "cannot be dialled"},
		"peer is self":    {func(c *Tracker) { c.Peers = []string{"tcp://127.0.0.1:7000"} }, "peers[0]", "itself"},
		"peer twice":      {func(c *Tracker) { c.Peers = []string{"HOST:1", "host.:1"} }, "peers[1]", "given twice"},
		"no seederlist":   {func(c *Tracker) { c.SeederlistFile = "" }, "seederlist_file", "missing"},
		"seederlist -":    {func(c *Tracker) { c.SeederlistFile = "-" }, "seederlist_file", "name a file"},
		"no log":          {func(c *Tracker) { c.LogFile = "" }, "log_file", "missing"},
		"NUL":             {func(c *Tracker) { c.LogFile = "a\x00b" }, "log_file", "NUL"},
		"log in the list": {func(c *Tracker) { c.LogFile = "./t.db" }, "log_file", "own file"},
		"level":           {func(c *Tracker) { c.LogLevel = "loud" }, "log_level", "debug, info"},
		"log format":      {func(c *Tracker) { c.LogFormat = "xml" }, "log_format", "text or json"},
		"log size":        {func(c *Tracker) { c.LogMaxMiB = -1 }, "log_max_mib", "0 for no bound"},
		"log files":       {func(c *Tracker) { c.LogKeep = 0 }, "log_keep", "1 to"},
		"transport":       {func(c *Tracker) { c.Transport = "udp" }, "transport", "want auto"},
		"no listen":       {func(c *Tracker) { c.Addr, c.Listen = "", "0.0.0.0" }, "listen", "not ip:port"},
		"advertise any":   {func(c *Tracker) { c.Advertise = "0.0.0.0:1" }, "advertise", "others dial"},
		"advertise name":  {func(c *Tracker) { c.Advertise = "a.example:1" }, "advertise", "not an IP"},
		"peer advertised": {func(c *Tracker) { c.Advertise = "127.0.0.2:7000" }, "peers[0]", "itself"},
		"trust":           {func(c *Tracker) { c.TrustAnnounced = []string{"10.0.0.0/8", "10/8"} }, "trust_announced[1]", "CIDR"},
		"trust 4in6":      {func(c *Tracker) { c.TrustAnnounced = []string{"::ffff:10.0.0.1"} }, "trust_announced[0]", "as IPv4"},
		"trust many":      {func(c *Tracker) { c.TrustAnnounced = make([]string, MaxTrusted+1) }, "trust_announced", "at most"},
		"short lease":     {func(c *Tracker) { c.Lease = time.Millisecond }, "lease", "1s"},
		"long lease":      {func(c *Tracker) { c.Lease = 48 * time.Hour }, "lease", "24h"},
		"ack":             {func(c *Tracker) { c.Ack = "all" }, "ack", "want self or peer"},
		"admin":           {func(c *Tracker) { c.Admin = "host:1" }, "admin", "not an IP"},
		"bare metrics":    {func(c *Tracker) { c.Metrics = "9200" }, "metrics", "host:port"},
		"metrics port":    {func(c *Tracker) { c.Metrics = ":http" }, "metrics", "not a number"},
		"lone pprof":      {func(c *Tracker) { c.MetricsPprof = true }, "metrics_pprof", "metrics is not"},
		"open pprof":      {func(c *Tracker) { c.MetricsPprof, c.Metrics = true, "0.0.0.0:1" }, "metrics_pprof", "loopback"},
		"named pprof":     {func(c *Tracker) { c.MetricsPprof, c.Metrics = true, "lab:1" }, "metrics_pprof", "loopback"},
		"open admin":      {func(c *Tracker) { c.Admin = "0.0.0.0:1" }, "admin", "loopback"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, tracker(c.change).Validate(), c.key, c.why) })
	}
}

func TestClientChecksNameTheKeyAndTheMend(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Client)
		key, why string
	}{
		"no address":    {func(c *Client) { c.Addr = "" }, "addr", "give ip:port"},
		"no tracker":    {func(c *Client) { c.Trackers = nil }, "trackers", "missing"},
		"one tracker":   {func(c *Client) { c.Trackers = c.Trackers[:1] }, "trackers", "want 2"},
		"same trackers": {func(c *Client) { c.Trackers[1] = "quic://127.0.0.1:7000" }, "trackers[1]", "given twice"},
		"mapped same":   {func(c *Client) { c.Trackers[1] = "[::ffff:127.0.0.1]:7000" }, "trackers[1]", "given twice"},
		"self":          {func(c *Client) { c.Trackers[0] = c.Addr }, "trackers[0]", "itself"},
		"scheme":        {func(c *Client) { c.Trackers[0] = "http://127.0.0.1:7000" }, "trackers[0]", "scheme"},
		"port 0":        {func(c *Client) { c.Addr = "127.0.0.1:0" }, "state", "port 0"},
		"socket, long":  {func(c *Client) { c.Socket = "/" + strings.Repeat("s", maxSocket) }, "socket", "at most 103"},
		"socket, NUL":   {func(c *Client) { c.Socket = "a\x00b" }, "socket", "NUL"},
		"watch, where":  {func(c *Client) { c.Watch = []string{"a"} }, "watch_to", "missing"},
		"watch twice":   {func(c *Client) { c.Watch, c.WatchTo = []string{"a", "./a"}, "b" }, "watch[1]", "given twice"},
		"watch empty":   {func(c *Client) { c.Watch, c.WatchTo = []string{""}, "b" }, "watch[0]", "empty"},
		"watch many":    {func(c *Client) { c.Watch = make([]string, MaxWatch+1) }, "watch", "at most"},
		"watch often":   {func(c *Client) { c.WatchEvery = time.Millisecond }, "watch_every", "1s"},
		"slow upload":   {func(c *Client) { c.UploadLimit = 100 }, "upload_limit", "4.0 KiB/s at least"},
		"few peers":     {func(c *Client) { c.MaxPeers = 1 }, "max_peers", "2 to 10000"},
		"-1 downloads":  {func(c *Client) { c.MaxDownloads = -1 }, "max_downloads", "negative"},
		"slow download": {func(c *Client) { c.DownloadLimit = -1 }, "download_limit", "20MB"},
		"NUL in state":  {func(c *Client) { c.State = "\x00" }, "state", "NUL"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, client(c.change).Validate(), c.key, c.why) })
	}
}

func TestUsualSettingsPass(t *testing.T) {
	for name, c := range map[string]interface{ Validate() error }{
		"tracker":          tracker(func(*Tracker) {}),
		"tracker port 0":   tracker(func(c *Tracker) { c.Addr = "127.0.0.1:0" }),
		"tracker IPv6":     tracker(func(c *Tracker) { c.Addr, c.Peers = "[::1]:7000", []string{"[::1]:7001"} }),
		"tracker any":      tracker(func(c *Tracker) { c.Addr = "0.0.0.0:7000" }),
		"tracker mesh":     tracker(func(c *Tracker) { c.Peers = []string{"b.example:1", "quic://c.example:1"} }),
		"tracker admin":    tracker(func(c *Tracker) { c.Admin, c.Ack = "[::1]:0", AckPeer }),
		"tracker metrics":  tracker(func(c *Tracker) { c.Metrics = "0.0.0.0:9200" }),
		"tracker pprof":    tracker(func(c *Tracker) { c.Metrics, c.MetricsPprof = ":9200", true }),
		"client metrics":   client(func(c *Client) { c.Metrics, c.MetricsPprof = "localhost:0", true }),
		"tracker stderr":   tracker(func(c *Tracker) { c.LogFile = LogStderr }),
		"tracker, listen":  tracker(func(c *Tracker) { c.Addr, c.Listen = "", "0.0.0.0:7000" }),
		"tracker, NAT":     tracker(func(c *Tracker) { c.Listen, c.Advertise = "0.0.0.0:7000", "203.0.113.1:0" }),
		"tracker, trust":   tracker(func(c *Tracker) { c.TrustAnnounced = []string{"10.1.2.3", "fd00::/8"} }),
		"loud":             tracker(func(c *Tracker) { c.LogLevel = "DEBUG" }),
		"client":           client(func(*Client) {}),
		"client port 0":    client(func(c *Client) { c.Addr, c.State = "127.0.0.1:0", "s" }),
		"client, one host": client(func(c *Client) { c.Trackers[1] = "127.0.0.1:7001" }),
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddressesToListenOnAndToBeKnownBy(t *testing.T) {
	for _, c := range []struct{ addr, listen, advertise, bind, own string }{
		{"127.0.0.1:1", "", "", "127.0.0.1:1", "127.0.0.1:1"},
		{"127.0.0.1:1", "0.0.0.0:2", "", "0.0.0.0:2", "127.0.0.1:1"},
		{"0.0.0.0:1", "", "127.0.0.1:2", "0.0.0.0:1", "127.0.0.1:2"},
		{"", "0.0.0.0:2", "127.0.0.1:3", "0.0.0.0:2", "127.0.0.1:3"},
		{"", "127.0.0.1:2", "", "127.0.0.1:2", "127.0.0.1:2"},
	} {
		cl := Client{Addr: c.addr, Listen: c.listen, Advertise: c.advertise}
		tr := Tracker{Addr: c.addr, Listen: c.listen, Advertise: c.advertise}
		if cl.ListenAddr() != c.bind || cl.OwnAddr() != c.own || tr.ListenAddr() != c.bind || tr.OwnAddr() != c.own {
			t.Errorf("%+v: %s, %s, %s, %s", c, cl.ListenAddr(), cl.OwnAddr(), tr.ListenAddr(), tr.OwnAddr())
		}
	}
}

func TestFilesThatCannotBeWrittenAreToldApart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ok := tracker(func(c *Tracker) { c.SeederlistFile, c.LogFile = filepath.Join(dir, "new"), file })
	if err := ok.CheckFiles(); err != nil {
		t.Error(err)
	}
	for path, why := range map[string]string{
		dir:                              "is a folder",
		filepath.Join(dir, "no", "list"): "make it first",
		filepath.Join(file, "list"):      "not a",
		filepath.Join(dir, "new") + "/":  "folder",
	} {
		c := ok
		c.SeederlistFile = path
		wantError(t, c.CheckFiles(), "seederlist_file", why)
		wantError(t, client(func(c *Client) { c.LogFile = path }).CheckFiles(), "log_file", why)
	}
	wantError(t, client(func(c *Client) { c.LogFile, c.State = LogStderr, file }).CheckFiles(), "state", "not a folder")
	wantError(t, client(func(c *Client) { c.LogFile, c.Watch = LogStderr, []string{file} }).CheckFiles(), "watch[0]", "not a folder")
	wantError(t, client(func(c *Client) { c.LogFile, c.WatchTo = LogStderr, filepath.Join(dir, "no") }).CheckFiles(), "watch_to", "make it first")
	if err := client(func(c *Client) { c.LogFile, c.State = LogStderr, filepath.Join(dir, "a", "b") }).CheckFiles(); err != nil {
		t.Errorf("a state folder that is still to be made: %v", err)
	}
}

func TestCongestionControlIsAPlainName(t *testing.T) {
	for _, name := range []string{"", "bbr", "cubic", "dctcp_2"} {
		if err := client(func(c *Client) { c.TCP.Congestion = name }).Validate(); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"BBR", "b b r", "a/b", "averyveryverylong"} {
		wantError(t, client(func(c *Client) { c.TCP.Congestion = name }).Validate(), "tcp.congestion", "bbr or cubic")
	}
}

func TestHooksAreProgramsWithoutArguments(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(program string) error {
		return client(func(c *Client) { c.LogFile, c.Hooks.Complete = LogStderr, program }).CheckFiles()
	}
	if err := check(exe); err != nil {
		t.Error(err)
	}
	wantError(t, check("no-such-program"), "hooks.complete", "PATH")
	wantError(t, check(exe+" --now"), "hooks.complete", "path alone")
	wantError(t, check(plain), "hooks.complete", "program")
	wantError(t, client(func(c *Client) { c.Hooks.Complete = "\x00" }).Validate(), "hooks.complete", "NUL")
}

func wantError(t *testing.T, err error, key, why string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if e.Key != key || !strings.Contains(e.Error(), why) || strings.Contains(e.Error(), "\n") {
		t.Errorf("got %q, want one line on key %s that says %q", e, key, why)
	}
}

func TestAPrivateSwarmSpeaksNothingInTheClear(t *testing.T) {
	private := func(change func(*Tracker)) Tracker {
		c := tracker(change)
		c.SwarmKeyFile = "swarm.key"
		return c
	}
	for _, transport := range []string{TransportAuto, TransportTLS, TransportQUIC} {
		c := private(func(c *Tracker) { c.Transport = transport })
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", transport, err)
		}
		if slices.Contains(Schemes(transport, true), TransportTCP) {
			t.Errorf("%s dials tcp", transport)
		}
	}
	wantError(t, private(func(c *Tracker) { c.Transport = TransportTCP }).Validate(), "transport", "in the clear")
	wantError(t, private(func(c *Tracker) { c.Peers = []string{"127.0.0.2:7000", "tcp://127.0.0.3:7000"} }).Validate(), "peers[1]", "in the clear")
	c := client(func(c *Client) {
		c.Trackers = []string{"tls://127.0.0.1:7000", "quic://127.0.0.2:7000"}
		c.SwarmKeyFile = "swarm.key"
	})
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
