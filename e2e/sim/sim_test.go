package sim

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

const mb = 1e6

// crowd is a swarm that starts at one moment from a seeder of 20 MB/s.
func crowd(clients int) Scenario {
	return Scenario{
		Pieces: 512, Clients: clients, Seeder: 20 * mb, Up: 100 * mb, Down: 100 * mb,
		Latency: time.Millisecond, Degree: 30, Limit: 5 * time.Minute,
	}
}

// hold fails unless a swarm was as good as promised.
func hold(t *testing.T, r Result, ratio, sent float64) {
	t.Helper()
	t.Logf("last client after %.2f x ideal, seeder sent %.2f x file, %d killed", r.Ratio(), r.Sent, r.Killed)
	if r.Unwhole > 0 {
		t.Errorf("%d clients are not whole", r.Unwhole)
	}
	if r.Ratio() > ratio {
		t.Errorf("the last client was whole after %.3f x the ideal time, want at most %.2f", r.Ratio(), ratio)
	}
	if r.Sent > sent {
		t.Errorf("the seeder sent %.3f x the file, want at most %.2f", r.Sent, sent)
	}
}

func TestFlashCrowdFinishesNearTheIdealAndTheSeederSendsThePiecesOnce(t *testing.T) {
	hold(t, Run(t, crowd(8)), 1.15, 1.3)
	sc := crowd(24)
	sc.Pieces = 256
	hold(t, Run(t, sc), 1.15, 1.3)
}

func TestCrowdOfLinesNoFasterThanTheSeedersFinishesNearTheIdeal(t *testing.T) {
	sc := crowd(8)
	sc.Up = 20 * mb
	hold(t, Run(t, sc), 1.15, 1.3)
}

func TestClientsThatAreKilledAndComeBackHoldNobodyUp(t *testing.T) {
	sc := crowd(8)
	sc.Churn = time.Second
	r := Run(t, sc)
	hold(t, r, 1.3, 1.3)
	if r.Killed < 5 {
		t.Errorf("%d were killed, want at least 5", r.Killed)
	}
}

func TestHalfFilledClientsGiveEachOtherWhatTheSeederNeedNotSend(t *testing.T) {
	sc := crowd(8)
	sc.Partial = 6
	hold(t, Run(t, sc), 1, 1)
}

func TestClientsThatJoinOneAfterTheOtherAreFedByTheEarlierOnes(t *testing.T) {
	sc := crowd(8)
	sc.Within = 8 * time.Second
	hold(t, Run(t, sc), 1.25, 1.3)
}

func TestLargeSwarmsFinishNearTheIdeal(t *testing.T) {
	if os.Getenv("MTOR_LONG") == "" {
		t.Skip("takes minutes: set MTOR_LONG=1, as .ci/long does")
	}
	p := new(plot)
	for _, n := range []int{2, 8, 40, 100, 200, 1000} {
		sc := crowd(n)
		if n > 200 {
			sc.Pieces = 256 // twice as long a time of filling up, for its size
		}
		r := Run(t, sc)
		t.Logf("%d clients:", n)
		ratio, sent := 1.15, 1.3
		if n > 200 {
			ratio, sent = 1.5, 1.5
		}
		hold(t, r, ratio, sent)
		p.add(n, r)
	}
	sc := crowd(200)
	sc.Churn = time.Second
	hold(t, Run(t, sc), 1.3, 1.3)
	if path := os.Getenv("MTOR_PLOT"); path != "" {
		if err := os.WriteFile(filepath.Clean(path), p.svg(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
