package netpath

import (
	"math"
	"testing"
)

func TestRatesAndLossesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]int64{
		"64kbit": MinRate, "100Mbit": 100_000_000, "1Gbit": 1_000_000_000, "2.5 gbit/s": 2_500_000_000, "10Gbit": MaxRate, "64001bit": 64_001,
	} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
		if again, err := ParseRate(FormatRate(got)); err != nil || again != got {
			t.Errorf("%q is written %q: %d, %v", text, FormatRate(got), again, err)
		}
	}
	for text, want := range map[string]float64{"0": 0, "0%": 0, "0.1%": 0.001, "1 %": 0.01, "99.9%": 0.999} {
		got, err := ParseLoss(text)
		if err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if again, err := ParseLoss(FormatLoss(got)); err != nil || math.Abs(again-got) > 1e-12 {
			t.Errorf("%q is written %q: %v, %v", text, FormatLoss(got), again, err)
		}
	}
}

func TestWhatIsNoRateOrLossIsNamed(t *testing.T) {
	for _, text := range []string{"", "100", "fast", "100MB", "0Mbit", "-1Gbit", "11Gbit", "1e99Gbit", "NaNMbit", "Mbit"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
	for _, text := range []string{"", "0.1", "100%", "-1%", "NaN%", "%", "some"} {
		if got, err := ParseLoss(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
