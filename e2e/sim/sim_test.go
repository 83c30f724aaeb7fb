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
	pieces := 512
	if raced {
		pieces = 128 // the detector is after races, which come early
	}
	return Scenario{
		Pieces: pieces, Clients: clients, Seeder: 20 * mb, Up: 100 * mb, Down: 100 * mb,
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
	sc.Pieces /= 2
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
	if r.Killed < 2 {
		t.Errorf("%d were killed, want at least 2", r.Killed)
	}
}

func TestHalfFilledClientsGiveEachOtherWhatTheSeederNeedNotSend(t *testing.T) {
	sc := crowd(8)
	sc.Partial = 6
	hold(t, Run(t, sc), 1, 1)
}

func TestClientsThatJoinOneAfterTheOtherAreFedByTheEarlierOnes(t *testing.T) {
	sc := crowd(8)
	sc.Within = sc.Ideal() * 6 / 10
	hold(t, Run(t, sc), 1.25, 1.3)
}

func TestAThousandClientsAllFinish(t *testing.T) {
	if os.Getenv("MTOR_LONG") == "" {
		t.Skip("takes minutes: set MTOR_LONG=1, as .ci/long does")
	}
	sc := crowd(1000)
	sc.Pieces = 64 // a short file: the way of its last pieces through the crowd counts
	hold(t, Run(t, sc), 3, 3)
}

func TestLargeSwarmsFinishNearTheIdeal(t *testing.T) {
	if os.Getenv("MTOR_LONG") == "" {
		t.Skip("takes minutes: set MTOR_LONG=1, as .ci/long does")
	}
	p := new(plot)
	for _, n := range []int{2, 8, 40, 100, 200} {
		r := Run(t, crowd(n))
		t.Logf("%d clients:", n)
		hold(t, r, 1.15, 1.3)
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

// Seven of eight take requests for pieces and send none.
func TestPeersThatHoldPiecesDelayASmallFileByAFewSecondsAtMost(t *testing.T) {
	sc := crowd(1)
	sc.Pieces, sc.Holders = 16, 7
	r := Run(t, sc)
	t.Logf("whole after %s", r.Last)
	if r.Unwhole > 0 || r.Last > 5*time.Second {
		t.Errorf("%d are not whole; the last after %s, want 5 s at most", r.Unwhole, r.Last)
	}
}
