package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	if raced { // of a short file the way of the last pieces counts
		ratio, sent = 1.3*ratio, 1.3*sent
	}
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
	// Their own lines are the bound: all is over so soon that its beginning and
	// end count.
	hold(t, Run(t, sc), 1.5, 0.4)
}

func TestASwarmWhoseOnlySeederLeavesGoesOnWhenItIsBack(t *testing.T) {
	sc := crowd(8)
	sc.Away = 2 * time.Minute
	r := Run(t, sc)
	hold(t, r, 1.3, 1.3) // trackers are asked every 30 s by then
	if first := slices.Min(r.Done); first < sc.Away {
		t.Errorf("the first was whole after %s: before the seeder was back", first)
	}
}

func TestClientsThatJoinOneAfterTheOtherAreFedByTheEarlierOnes(t *testing.T) {
	sc := crowd(8)
	sc.Within = sc.Ideal() * 6 / 10
	hold(t, Run(t, sc), 1.25, 1.3)
}

// TestSwarmsOfManySizesFinishNearTheIdeal makes the table and the picture of
// docs/benchmarks.md.
func TestSwarmsOfManySizesFinishNearTheIdeal(t *testing.T) {
	if os.Getenv("MTOR_LONG") == "" {
		t.Skip("takes half an hour: set MTOR_LONG=1, as .ci/long does")
	}
	var table table
	picture := new(plot)
	kinds := [...]struct {
		name   string
		change func(*Scenario)
		ratio  float64
	}{
		{"crowd", func(*Scenario) {}, 1.15},
		// One that is killed late is away for a while that counts in full.
		{"churn", func(sc *Scenario) { sc.Churn = time.Second }, 1.3},
		{"halves", func(sc *Scenario) {
			sc.Partial = sc.Clients / 2
			// The clients' own lines are the bound: 256 pieces would be over in
			// little more than a second, of which the beginning and the end take
			// half, whatever the file.
			if sc.Clients < 1000 { // whose memory that would be
				sc.Pieces = 1024
			}
		}, 1.25},
	}
	for _, n := range []int{8, 40, 100, 200, 1000} {
		row := row{clients: n}
		for i, kind := range kinds {
			t.Run(fmt.Sprint(n, "/", kind.name), func(t *testing.T) {
				sc := crowd(n)
				sc.Pieces = 256
				kind.change(&sc)
				r := Run(t, sc)
				row.results[i], row.ran = &r, true
				if sc.Partial > 0 && sc.Pieces == 256 {
					kind.ratio = 1.6
				}
				hold(t, r, kind.ratio, 1.3)
			})
		}
		if row.ran {
			table = append(table, row)
		}
		if crowd := row.results[0]; crowd != nil {
			picture.add(n, *crowd)
		}
	}
	if len(table) == 0 {
		return // -run asked for none
	}
	t.Logf("\n%s", table)
	if path := os.Getenv("MTOR_PLOT"); path != "" && len(picture.points) > 0 {
		if err := os.WriteFile(filepath.Clean(path), picture.svg(), 0o644); err != nil {
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
