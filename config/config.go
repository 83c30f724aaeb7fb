// Package config owns what a user can set: one typed struct for each role,
// the defaults, where a value comes from (the command line, then MTOR_* in the
// environment, then the settings file, then the default) and the checks. An
// error names the key, and the line if it stands in a file, and says how to
// mend it.
//
// The structs are all there is: a field is a key of the file (its mapstructure
// tag), an environment variable ([EnvName] of the key), and a line of the
// sample, which the tests demand. A field tagged live:"yes" is taken over by a
// running role, one tagged secret:"yes" is never shown.
package config

import (
	"log/slog"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/units"
)

// The transports that may be dialled. All are always listened on, but for TCP
// in the clear in a private swarm.
const (
	TransportAuto = "auto" // every transport, as the address says
	TransportTCP  = "tcp"
	TransportTLS  = "tls"
	TransportQUIC = "quic"
)

// Bounds of a lease. Below a second, renewals cost more than they tell; above
// a day, a machine that is gone stays listed for longer than anyone waits.
const (
	MinLease     = time.Second
	MaxLease     = 24 * time.Hour
	DefaultLease = 2 * time.Minute
)

// MaxPeers bounds the other trackers that one tracker keeps in step with: a
// full mesh grows with the square of its members.
const MaxPeers = 8

// MaxTrusted bounds the networks of Tracker.TrustAnnounced: each is looked at
// for each announcement that needs it.
const MaxTrusted = 256

// ClientTrackers is how many trackers a client has: as many as a .mtorrent
// names.
const ClientTrackers = 2

// When a tracker answers a request.
const (
	AckSelf = "self" // once the change is on its own disk
	AckPeer = "peer" // once it is on another tracker's too, if one is connected
)

// LogStderr as log file means standard error.
const LogStderr = "-"

// The forms of a log.
const (
	LogText = "text" // key=value
	LogJSON = "json" // an object a line
)

// Bounds of what a log takes on the disk.
const (
	MaxLogMiB      = 1 << 20
	MaxLogKeep     = 1000
	DefaultLogMiB  = 100
	DefaultLogKeep = 5
)

// Log is what can be set for a role's log.
type Log struct {
	File, Level, Format string
	MaxMiB, Keep        int
}

// Tracker is what can be set for a tracker.
type Tracker struct {
	// Addr is ip:port to listen on, TCP and UDP, and to be known by; port 0
	// picks a free one. It may be missing when Listen is given.
	Addr string `mapstructure:"addr"`
	// Listen is ip:port to listen on instead.
	Listen string `mapstructure:"listen"`
	// Advertise is ip:port to be known by instead; port 0 is the one that is
	// listened on.
	Advertise string `mapstructure:"advertise"`
	// Peers are the other trackers to keep in step with, 1 to MaxPeers.
	Peers []string `mapstructure:"peers" live:"yes"`
	// SeederlistFile is the file of rows; it is made when it is missing.
	SeederlistFile string `mapstructure:"seederlist_file"`
	// LogFile is appended to; LogStderr means standard error.
	LogFile string `mapstructure:"log_file"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `mapstructure:"log_level" live:"yes"`
	// LogFormat is LogText or LogJSON.
	LogFormat string `mapstructure:"log_format"`
	// LogMaxMiB is the size at which a new log file begins, in MiB, 0 to
	// MaxLogMiB; 0 means never.
	LogMaxMiB int `mapstructure:"log_max_mib"`
	// LogKeep is how many old log files stay, 1 to MaxLogKeep.
	LogKeep int `mapstructure:"log_keep"`
	// Transport is which one to dial the other trackers over.
	Transport string `mapstructure:"transport"`
	// SwarmKeyFile holds the key of a private swarm; empty means an open one.
	SwarmKeyFile string `mapstructure:"swarm_key_file"`
	// Lease is how long a client stays listed that does not renew, MinLease
	// to MaxLease.
	Lease time.Duration `mapstructure:"lease"`
	// Ack is AckSelf or AckPeer.
	Ack string `mapstructure:"ack"`
	// AcceptDataLoss lets the tracker start with an empty list when its file
	// is damaged and no other tracker can be reached.
	AcceptDataLoss bool `mapstructure:"accept_data_loss"`
	// TrustAnnounced are the networks (CIDR, or single IPs) from which clients
	// may announce another IP than the one that they come from, up to
	// MaxTrusted.
	TrustAnnounced []string `mapstructure:"trust_announced"`
	// Admin is ip:port to answer questions about the tracker on, over HTTP;
	// empty means not at all. It is an address of this machine alone: what is
	// asked there needs no proof of who asks.
	Admin string `mapstructure:"admin"`
	// Metrics is host:port to show metrics, health and a page on, over HTTP; without a
	// host it is 127.0.0.1, and empty means not at all.
	Metrics string `mapstructure:"metrics"`
	// MetricsPprof shows the Go runtime's profiles there too, to this machine
	// alone.
	MetricsPprof bool `mapstructure:"metrics_pprof"`
	// PageTokenFile holds the token that the page asks for, and can be read by its
	// owner alone; empty means that one is drawn at each start where other machines
	// reach the page, and none is asked for where they do not.
	PageTokenFile string `mapstructure:"page_token_file"`
}

// Bounds of the folders that a client watches: each look costs a stat for each
// file.
const (
	MaxWatch          = 64
	MinWatchEvery     = time.Second
	MaxWatchEvery     = time.Hour
	DefaultWatchEvery = 5 * time.Second
)

// Bounds of the sessions of a client. A quarter of them is for those that it
// dials itself; each costs a descriptor and some ten KiB.
const (
	MinMaxPeers     = 2
	MaxMaxPeers     = 10_000
	DefaultMaxPeers = 500
)

// Client is what can be set for a client.
type Client struct {
	// Addr is ip:port to listen on, TCP and UDP, to dial from (the IP), and to
	// be listed as; port 0 picks a free one and needs State. It may be missing
	// when Listen is given.
	Addr string `mapstructure:"addr"`
	// Listen is ip:port to listen on and to dial from instead.
	Listen string `mapstructure:"listen"`
	// Advertise is ip:port to be listed as instead; port 0 is the one that is
	// listened on.
	Advertise string `mapstructure:"advertise"`
	// Trackers are the ClientTrackers trackers, the preferred one first.
	Trackers []string `mapstructure:"trackers"`
	// LogFile is appended to; LogStderr means standard error.
	LogFile string `mapstructure:"log_file"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `mapstructure:"log_level" live:"yes"`
	// LogFormat is LogText or LogJSON.
	LogFormat string `mapstructure:"log_format"`
	// LogMaxMiB is the size at which a new log file begins, in MiB, 0 to
	// MaxLogMiB; 0 means never.
	LogMaxMiB int `mapstructure:"log_max_mib"`
	// LogKeep is how many old log files stay, 1 to MaxLogKeep.
	LogKeep int `mapstructure:"log_keep"`
	// Transport is which one to dial trackers and peers over.
	Transport string `mapstructure:"transport"`
	// SwarmKeyFile holds the key of a private swarm; empty means an open one.
	SwarmKeyFile string `mapstructure:"swarm_key_file"`
	// State is the folder of the library; empty means the default one for
	// Addr.
	State string `mapstructure:"state"`
	// Socket is the path of the control socket: SocketNone for none, empty for
	// the one in State.
	Socket string `mapstructure:"socket"`
	// Menu says whether commands are read from standard input.
	Menu bool `mapstructure:"menu"`
	// Watch are folders whose .mtorrent files are fetched and seeded, up to
	// MaxWatch.
	Watch []string `mapstructure:"watch"`
	// WatchTo is the folder that they are fetched into.
	WatchTo string `mapstructure:"watch_to"`
	// WatchEvery is the time between two looks at the folders, MinWatchEvery to
	// MaxWatchEvery.
	WatchEvery time.Duration `mapstructure:"watch_every"`
	// MaxPeers is how many sessions with other clients there are at once, in
	// all, MinMaxPeers to MaxMaxPeers.
	MaxPeers int `mapstructure:"max_peers" live:"yes"`
	// MaxDownloads is how many downloads run at once; the others wait, in the
	// order of their coming. 0 means any number.
	MaxDownloads int `mapstructure:"max_downloads" live:"yes"`
	// UploadLimit and DownloadLimit bound what all torrents together send and
	// fetch.
	UploadLimit   units.Rate `mapstructure:"upload_limit" live:"yes"`
	DownloadLimit units.Rate `mapstructure:"download_limit" live:"yes"`
	// Metrics is host:port to show metrics, health and a page on, over HTTP; without a
	// host it is 127.0.0.1, and empty means not at all.
	Metrics string `mapstructure:"metrics"`
	// MetricsPprof shows the Go runtime's profiles there too, to this machine
	// alone.
	MetricsPprof bool `mapstructure:"metrics_pprof"`
	// PageTokenFile holds the token that the page asks for, and can be read by its
	// owner alone; empty means that one is drawn at each start where other machines
	// reach the page, and none is asked for where they do not.
	PageTokenFile string `mapstructure:"page_token_file"`
	// TCP is how TCP connections are made.
	TCP TCP `mapstructure:"tcp"`
	// Hooks are programs to run when something has happened.
	Hooks Hooks `mapstructure:"hooks"`
}

// SocketNone as socket means that there is none.
const SocketNone = "none"

// maxSocket is how long a socket's path may be, in bytes, on the systems that
// take the least.
const maxSocket = 103

// TCP is what can be set for a client's TCP connections.
type TCP struct {
	// Congestion is the kernel's name of a congestion control; empty for the
	// system's choice. Where the kernel lacks it, the log says so.
	Congestion string `mapstructure:"congestion"`
}

// Hooks are programs that a client runs: a path, or a name to be looked up in
// PATH, without arguments; empty for none.
type Hooks struct {
	// Complete is run when a download completes.
	Complete string `mapstructure:"complete" live:"yes"`
}

// TrackerDefaults is a tracker before anything was set.
func TrackerDefaults() Tracker {
	return Tracker{
		LogLevel: "info", LogFormat: LogText, LogMaxMiB: DefaultLogMiB, LogKeep: DefaultLogKeep,
		Transport: TransportAuto, Lease: DefaultLease, Ack: AckSelf,
	}
}

// ClientDefaults is a client before anything was set.
func ClientDefaults() Client {
	return Client{
		LogLevel: "info", LogFormat: LogText, LogMaxMiB: DefaultLogMiB, LogKeep: DefaultLogKeep,
		Transport: TransportAuto, Menu: true, WatchEvery: DefaultWatchEvery, MaxPeers: DefaultMaxPeers,
	}
}

// Log is the tracker's.
func (c Tracker) Log() Log { return Log{c.LogFile, c.LogLevel, c.LogFormat, c.LogMaxMiB, c.LogKeep} }

// Log is the client's.
func (c Client) Log() Log { return Log{c.LogFile, c.LogLevel, c.LogFormat, c.LogMaxMiB, c.LogKeep} }

// Schemes are the schemes of the transports that setting t lets a role dial,
// in the order to try; nil for an unknown t, and for TCP in the clear in a
// private swarm.
func Schemes(t string, private bool) []string {
	switch t {
	case TransportAuto:
		if private {
			return []string{TransportTLS, TransportQUIC}
		}
		// Last the one that gets through wherever the first does: it is there
		// for addresses that insist on it.
		return []string{TransportTCP, TransportQUIC, TransportTLS}
	case TransportTCP:
		if private {
			return nil
		}
		return []string{t}
	case TransportTLS, TransportQUIC:
		return []string{t}
	}
	return nil
}

// Level reads the name of a log level, in any case.
func Level(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, errorf("log_level", "%q is unknown: want debug, info, warn or error", name)
}
