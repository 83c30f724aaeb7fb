package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// transports are the values of the label transport.
var transports = []string{"tcp", "tls", "quic"}

// PieceResults are the values of the label result of mtor_client_pieces_total:
// what came of each piece that was asked of a peer.
var PieceResults = []string{"verified", "bad_hash", "stalled", "refused", "cancelled", "not_written"}

// DownloadStates are the values of the label state of mtor_client_downloads.
var DownloadStates = []string{"checking", "downloading", "queued", "no_room", "seeding", "paused", "failed", "missing"}

// Client counts what a client does. Its methods may be called from many
// goroutines; none waits for a scrape.
type Client struct {
	refusals
	by      map[string]*carried
	results map[string]prometheus.Counter
	bans    prometheus.Counter
}

// carried is what one transport has carried: looked up once, as making label
// sets costs more than counting.
type carried struct {
	received, sent, chosen, fallbacks prometheus.Counter
	fetch                             prometheus.Observer
}

// ClientGauges are what a client says of itself at one moment.
type ClientGauges struct {
	// Sessions and Streams that are open, by transport.
	Sessions, Streams map[string]int
	// Downloads in each of DownloadStates.
	Downloads map[string]int
	// Wanted is the bytes that unfinished downloads still lack.
	Wanted int64
	// Trackers is how many groups of trackers the client keeps in touch with,
	// and Reached how many of these answer.
	Trackers, Reached int
}

// NewClient registers a client's metrics. read is called at each scrape.
func NewClient(reg prometheus.Registerer, read func() ClientGauges) *Client {
	byTransport := func(name, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"transport"})
		reg.MustRegister(v)
		return v
	}
	received := byTransport("mtor_client_piece_received_bytes_total", "Bytes of pieces that came whole from peers, before they were verified.")
	sent := byTransport("mtor_client_piece_sent_bytes_total", "Bytes of pieces sent to peers.")
	chosen := byTransport("mtor_client_dialled_total", "Sessions with peers that this client dialled, by the transport that was established first.")
	fallbacks := byTransport("mtor_client_fallbacks_total", "Those among them that were made over another transport than the first in order.")
	fetch := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "mtor_client_piece_fetch_seconds",
		Help:    "Time from asking a peer for a piece to its last byte, of pieces that came whole.",
		Buckets: seconds(0.001, 16), // 1 ms to 33 s
	}, []string{"transport"})
	pieces := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mtor_client_pieces_total",
		Help: "Pieces asked of peers, by what came of it.",
	}, []string{"result"})
	c := &Client{
		refusals: newRefusals(reg, "mtor_client_handshakes_refused_total"),

		by:      map[string]*carried{},
		results: map[string]prometheus.Counter{},
		bans: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mtor_client_bans_total",
			Help: "Peers banned for a torrent because they sent a bad piece of it.",
		}),
	}
	reg.MustRegister(fetch, pieces, c.bans)
	for _, t := range transports {
		c.by[t] = &carried{
			received: received.WithLabelValues(t), sent: sent.WithLabelValues(t),
			chosen: chosen.WithLabelValues(t), fallbacks: fallbacks.WithLabelValues(t), fetch: fetch.WithLabelValues(t),
		}
	}
	for _, r := range PieceResults {
		c.results[r] = pieces.WithLabelValues(r)
	}
	reg.MustRegister(clientGauges(read))
	return c
}

func clientGauges(read func() ClientGauges) *gauges {
	g := new(gauges)
	sessions := g.desc("mtor_client_sessions", "Sessions with peers that are open.", "transport")
	streams := g.desc("mtor_client_streams", "Streams that are open on these sessions: one a torrent, and one a piece on its way.", "transport")
	downloads := g.desc("mtor_client_downloads", "Torrents in the library, by state.", "state")
	wanted := g.desc("mtor_client_wanted_bytes", "Bytes that unfinished downloads still lack.")
	groups := g.desc("mtor_client_tracker_groups", "Sets of trackers that the client's torrents name.")
	reached := g.desc("mtor_client_tracker_groups_reached", "Those of which a tracker answers.")
	g.read = func(ch chan<- prometheus.Metric) {
		now := read()
		for _, t := range transports {
			constant(ch, sessions, float64(now.Sessions[t]), t)
			constant(ch, streams, float64(now.Streams[t]), t)
		}
		for _, s := range DownloadStates {
			constant(ch, downloads, float64(now.Downloads[s]), s)
		}
		constant(ch, wanted, float64(now.Wanted))
		constant(ch, groups, float64(now.Trackers))
		constant(ch, reached, float64(now.Reached))
	}
	return g
}

// PieceReceived counts a piece of n bytes that came whole over a transport.
func (c *Client) PieceReceived(transport string, n int, took time.Duration) {
	if t := c.by[transport]; t != nil {
		t.received.Add(float64(n))
		t.fetch.Observe(took.Seconds())
	}
}

// PieceSent counts n bytes of a piece that were sent over a transport.
func (c *Client) PieceSent(transport string, n int64) {
	if t := c.by[transport]; t != nil {
		t.sent.Add(float64(n))
	}
}

// PieceEnded counts what came of a piece: one of PieceResults.
func (c *Client) PieceEnded(result string) {
	if r := c.results[result]; r != nil {
		r.Inc()
	}
}

// Chose counts a session that was dialled, by the transport that won.
func (c *Client) Chose(transport string) {
	if t := c.by[transport]; t != nil {
		t.chosen.Inc()
	}
}

// FellBack counts a session made over another transport than the first.
func (c *Client) FellBack(transport string) {
	if t := c.by[transport]; t != nil {
		t.fallbacks.Inc()
	}
}

// Banned counts a peer that was banned for a torrent.
func (c *Client) Banned() { c.bans.Inc() }
