package metrics

import "github.com/prometheus/client_golang/prometheus"

// Refusals are the values of the label reason of
// mtor_client_handshakes_refused_total and mtor_tracker_handshakes_refused_total.
var Refusals = []string{"no_key", "foreign", "expired", "broke_off", "protocol", "timeout", "busy"}

// refusals are counters by transport and reason. All are there from the start:
// what has happened once is an increase.
type refusals map[[2]string]prometheus.Counter

func newRefusals(reg prometheus.Registerer, name string) refusals {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name,
		Help: "Incoming handshakes that were refused, by the transport that was spoken and the reason.",
	}, []string{"transport", "reason"})
	reg.MustRegister(v)
	r := refusals{}
	for _, t := range transports {
		for _, why := range Refusals {
			r[[2]string{t, why}] = v.WithLabelValues(t, why)
		}
	}
	return r
}

// Refused counts a handshake that was refused for one of Refusals.
func (r refusals) Refused(transport, reason string) {
	if c := r[[2]string{transport, reason}]; c != nil {
		c.Inc()
	}
}
