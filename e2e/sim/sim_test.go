package sim

import (
	"testing"
	"time"
)

const mb = 1e6

func TestTry(t *testing.T) {
	for _, n := range []int{8, 40} {
		for _, up := range []float64{100 * mb, 20 * mb} {
			sc := Scenario{Pieces: 512, Clients: n, Seeder: 20 * mb, Up: up, Down: 100 * mb, Latency: time.Millisecond, Degree: 30, Limit: 5 * time.Minute}
			began := time.Now()
			r := Run(t, sc)
			t.Logf("clients %d up %g: ratio %.3f sent %.3f last %s ideal %s unwhole %d transfers %d, real %s", n, up, r.Ratio(), r.Sent, r.Last, r.Ideal, r.Unwhole, r.Transfers, time.Since(began))
		}
	}
}
