package units

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRatesAreReadWithTheirUnits(t *testing.T) {
	for s, want := range map[string]Rate{
		"20MB": 20_000_000, "1MiB": 1 << 20, "1.5 MiB/s": 3 << 19, "500kB": 500_000, "64KiB/s": 64 << 10,
		"4096": 4096, "2gb": 2_000_000_000, "none": 0, "NONE": 0, "0": 0, " 10 MB/s ": 10_000_000,
	} {
		if got, err := ParseRate(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
}

func TestWhatIsNoRateIsRefused(t *testing.T) {
	for _, s := range []string{"", "fast", "-1", "-20MB", "20MBit", "1 2", "4095", "1kB", "9EB", "NaN", "inf", "/s", "20MB/h", "99999999999999999999"} {
		if n, err := ParseRate(s); err == nil {
			t.Errorf("%q is read as %d", s, n)
		}
	}
}

func TestARateIsReadAsItIsWritten(t *testing.T) {
	for n, want := range map[Rate]string{0: "none", 20_000_000: "20 MB/s", 1 << 20: "1.0 MiB/s", 1234567: "1234567 B/s"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := Rate(rapid.Int64Range(int64(MinRate), int64(MaxRate)).Draw(t, "rate"))
		if got, err := ParseRate(n.String()); err != nil || got != n {
			t.Fatalf("%d is written %q and read as %d, %v", n, n.String(), got, err)
		}
	})
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"20MB", "1.5 MiB/s", "none", "-1", "1e400", "nan"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseRate(s)
		if err != nil {
			return
		}
		if n != 0 && (n < MinRate || n > MaxRate) {
			t.Fatalf("%q gives %d", s, n)
		}
	})
}
