package bench

import (
	"strings"
	"testing"
)

func TestCountersAreAddedUpOverTheirLabels(t *testing.T) {
	c, err := readCounters(strings.NewReader(`# HELP mtor_client_piece_sent_bytes_total Bytes of pieces sent to peers.
# TYPE mtor_client_piece_sent_bytes_total counter
mtor_client_piece_sent_bytes_total{transport="quic"} 1024
mtor_client_piece_sent_bytes_total{transport="tcp"} 2.68435456e+08
mtor_client_piece_sent_bytes_total_of_another 7
mtor_client_bans_total 3
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.sum(sentBytes); got != 1024+256<<20 {
		t.Errorf("%v bytes sent, want %d", got, 1024+256<<20)
	}
	if got := c.sum("mtor_client_bans_total"); got != 3 {
		t.Errorf("%v bans, want 3", got)
	}
}

func TestAMetricThatIsNoNumberIsNamed(t *testing.T) {
	if _, err := readCounters(strings.NewReader("mtor_x many\n")); err == nil || !strings.Contains(err.Error(), "mtor_x") {
		t.Errorf("error %v, want one that names the metric", err)
	}
}
