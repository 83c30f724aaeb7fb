package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// counters are what a client has counted since its start, by the metric's name
// with its labels.
type counters map[string]float64

// sum is a metric over all its labels.
func (c counters) sum(name string) (v float64) {
	for series, n := range c {
		if bare, _, _ := strings.Cut(series, "{"); bare == name {
			v += n
		}
	}
	return v
}

const (
	sentBytes     = "mtor_client_piece_sent_bytes_total"
	receivedBytes = "mtor_client_piece_received_bytes_total"
)

// maxMetrics bounds what is read of a client's metrics, in bytes.
const maxMetrics = 4 << 20

// countersOf reads the counters of the client that shows them at addr.
func countersOf(ctx context.Context, addr string) (counters, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics at %s: %s", addr, resp.Status)
	}
	return readCounters(io.LimitReader(resp.Body, maxMetrics))
}

// readCounters reads Prometheus' text form.
func readCounters(r io.Reader) (counters, error) {
	c := make(counters)
	in := bufio.NewScanner(r)
	for in.Scan() {
		line := in.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		c[line[:at]] = v
	}
	return c, in.Err()
}
