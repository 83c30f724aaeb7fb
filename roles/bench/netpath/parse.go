package netpath

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

var rateUnits = []struct {
	name string
	bits float64
}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}} // the longer first

// ParseRate reads a rate such as "100Mbit", "1Gbit" or "64kbit" a second, in bits
// a second.
func ParseRate(s string) (int64, error) {
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "/s")
	for _, u := range rateUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if bits := v * u.bits; err == nil && bits >= MinRate && bits <= MaxRate {
			return int64(math.Round(bits)), nil
		}
	}
	return 0, fmt.Errorf("%q is not a rate such as 100Mbit or 1Gbit, from 64kbit to 10Gbit", s)
}

// FormatRate writes a rate as ParseRate reads it.
func FormatRate(bits int64) string {
	for _, u := range []struct {
		name string
		bits int64
	}{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}} {
		if bits >= u.bits {
			return strconv.FormatFloat(float64(bits)/float64(u.bits), 'g', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(bits, 10) + "bit"
}

// ParseLoss reads a part of all packets such as "0.1%", or 0.
func ParseLoss(s string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0 && v < 100) || !percent && v != 0 {
		return 0, fmt.Errorf("%q is not a loss such as 0.1%%, below 100%%", s)
	}
	return v / 100, nil
}

// FormatLoss writes a loss as ParseLoss reads it.
func FormatLoss(part float64) string {
	return strconv.FormatFloat(part*100, 'g', 6, 64) + "%"
}
