package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests are the values of the label request.
var Requests = []string{"announce", "seederlist", "remove", "leave", "renew", "probe"}

// Tracker counts what a tracker does. Its methods may be called from many
// goroutines; none waits for a scrape.
type Tracker struct {
	refusals
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	lag      *prometheus.HistogramVec
	commit   prometheus.Histogram
	repairs  *prometheus.CounterVec
	caughtUp *prometheus.CounterVec
}

// TrackerGauges are what a tracker says of itself at one moment.
type TrackerGauges struct {
	Rows, Torrents, Sessions int
	Peers                    []PeerGauges
}

// PeerGauges are what is known of one other tracker.
type PeerGauges struct {
	// Peer is its address as configured, or its node ID.
	Peer string
	// Connected says that each of the two takes the other's changes.
	Connected bool
	// Known is false for one that was never heard of: what it lacks cannot be
	// told.
	Known bool
	// Behind is how many entries it has not acknowledged, Oldest for how long
	// it has owed the oldest of this tracker's own.
	Behind uint64
	Oldest time.Duration
}

// NewTracker registers a tracker's metrics. peers are the other trackers as
// configured, so that each has its histogram from the start; read is called at
// each scrape.
func NewTracker(reg prometheus.Registerer, peers []string, read func() TrackerGauges) *Tracker {
	t := &Tracker{
		refusals: newRefusals(reg, "mtor_tracker_handshakes_refused_total"),

		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtor_tracker_requests_total",
			Help: "Requests of clients that were answered, by their result: ok, or why they were refused.",
		}, []string{"request", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mtor_tracker_request_seconds",
			Help:    "Time from a request's arrival until its answer could be sent; for a change, its way to the disk.",
			Buckets: seconds(0.0001, 16), // 0.1 ms to 3.3 s
		}, []string{"request"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mtor_tracker_sync_lag_seconds",
			Help:    "Time from a commit on this tracker's disk until the other has acknowledged that it is on its own.",
			Buckets: seconds(0.0005, 18), // 0.5 ms to 66 s
		}, []string{"peer"}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mtor_tracker_commit_seconds",
			Help:    "Time that a commit to the seederlist file took, its fsync included.",
			Buckets: seconds(0.0001, 16),
		}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtor_tracker_repairs_total",
			Help: "Entries taken from another tracker because the lists differed although both accounted for the same. None is expected.",
		}, []string{"peer"}),
		caughtUp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtor_tracker_caught_up_rows_total",
			Help: "Entries that the first round of a link with another tracker brought: what this one had missed.",
		}, []string{"peer"}),
	}
	reg.MustRegister(t.requests, t.took, t.lag, t.commit, t.repairs, t.caughtUp, trackerGauges(read))
	for _, r := range Requests {
		t.requests.WithLabelValues(r, "ok")
		t.took.WithLabelValues(r)
	}
	for _, p := range peers {
		t.lag.WithLabelValues(p)
		t.repairs.WithLabelValues(p)
		t.caughtUp.WithLabelValues(p)
	}
	return t
}

func trackerGauges(read func() TrackerGauges) *gauges {
	g := new(gauges)
	rows := g.desc("mtor_tracker_rows", "Rows that are listed: a torrent at a client.")
	torrents := g.desc("mtor_tracker_torrents", "Torrents that are known by name or by a row.")
	sessions := g.desc("mtor_tracker_sessions", "Sessions of clients and other trackers that are open.")
	connected := g.desc("mtor_tracker_sync_connected", "1 if this tracker and the other take each other's changes, else 0.", "peer")
	behind := g.desc("mtor_tracker_sync_behind_rows", "Entries, of all trackers, that the other has not acknowledged.", "peer")
	oldest := g.desc("mtor_tracker_sync_oldest_unacked_seconds", "Age of the oldest entry written here that the other has not acknowledged; 0 if there is none.", "peer")
	g.read = func(ch chan<- prometheus.Metric) {
		now := read()
		constant(ch, rows, float64(now.Rows))
		constant(ch, torrents, float64(now.Torrents))
		constant(ch, sessions, float64(now.Sessions))
		for _, p := range now.Peers {
			up := 0.0
			if p.Connected {
				up = 1
			}
			constant(ch, connected, up, p.Peer)
			if p.Known {
				constant(ch, behind, float64(p.Behind), p.Peer)
				constant(ch, oldest, p.Oldest.Seconds(), p.Peer)
			}
		}
	}
	return g
}

// Answered counts a request: one of Requests, the word for its result, and how
// long it took.
func (t *Tracker) Answered(request, result string, took time.Duration) {
	t.requests.WithLabelValues(request, result).Inc()
	t.took.WithLabelValues(request).Observe(took.Seconds())
}

// SyncLag counts a commit that another tracker has acknowledged.
func (t *Tracker) SyncLag(peer string, lag time.Duration) {
	t.lag.WithLabelValues(peer).Observe(lag.Seconds())
}

// Committed counts a commit.
func (t *Tracker) Committed(took time.Duration) { t.commit.Observe(took.Seconds()) }

// CaughtUp counts the entries that the first round of a link brought.
func (t *Tracker) CaughtUp(peer string, entries int) {
	t.caughtUp.WithLabelValues(peer).Add(float64(entries))
}

// Repaired counts the entries that were taken because the lists differed.
func (t *Tracker) Repaired(peer string, entries int) {
	t.repairs.WithLabelValues(peer).Add(float64(entries))
}
