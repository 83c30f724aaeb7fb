package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBenchOfTrackersMeasuresEverything(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := standalone(t)
	var got struct {
		Machine string
		Figures []struct {
			Name, Unit string
			Value      float64
		}
	}
	out := s.runs("bench", "tracker", "--json", "--sessions", "8", "--torrents", "100", "--rows", "400", "--duration", "200ms")
	if err := json.Unmarshal([]byte(strings.Join(out, "\n")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Machine == "" {
		t.Error("the machine is not named")
	}
	wanted := []string{
		"new torrents", "new durable rows", "refreshes", "announces with 7 peers", "new rows while", "sync lag, half",
		"sync lag, 99", "  the disk meanwhile", "  sync lag to a sync, 99", "catch-up", "  bbolt alone", "start with", "live heap a row",
	}
	for _, w := range wanted {
		found := false
		for _, f := range got.Figures {
			if strings.HasPrefix(f.Name, w) {
				found = true
				if f.Value <= 0 || f.Unit == "" {
					t.Errorf("%s: %v %s", f.Name, f.Value, f.Unit)
				}
			}
		}
		if !found {
			t.Errorf("no figure %q in %v", w, out)
		}
	}
}

func TestBenchOfSwarmsMeasuresEverything(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := standalone(t)
	var got struct {
		Figures []struct {
			Name, Unit string
			Value      float64
		}
	}
	out := s.runs("bench", "swarm", "--json", "--downloaders", "2", "--mebibytes", "4", "--seeder-limit", "4MiB")
	if err := json.Unmarshal([]byte(strings.Join(out, "\n")), &got); err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{
		"one downloader", "all, no limit", "  beside as many gets", "  beside as many copies",
		"all, seeder limited to 4.19 MB/s", "all, seeder limited to 4.19 MB/s, one killed", "  killed and restarted",
	} {
		found := false
		for _, f := range got.Figures {
			found = found || strings.HasPrefix(f.Name, w) && f.Unit != "" && f.Value >= 0
		}
		if !found {
			t.Errorf("no figure %q in %v", w, out)
		}
	}
	counted := 0
	for _, f := range got.Figures {
		// Every byte leaves the seeder at least once, and reaches each.
		if strings.HasPrefix(f.Name, "  seeder sent") || strings.HasPrefix(f.Name, "  downloaders received") {
			counted++
			if f.Value < 1 {
				t.Errorf("%s: %v", f.Name, f.Value)
			}
		}
	}
	if counted != 4 {
		t.Errorf("%d counts of bytes in %v, want 4", counted, out)
	}
}
