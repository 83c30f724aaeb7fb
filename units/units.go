// Package units owns how a rate is written: what a flag, a settings file and
// the menu take, and how it is said back.
package units

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

const (
	// MinRate is the lowest limit. Below it a piece of 512 KiB takes so long
	// that those who fetch it ask elsewhere.
	MinRate Rate = 4 << 10
	// MaxRate keeps sums of rates and times within 64 bits.
	MaxRate Rate = 1 << 50
	// None is how "no limit" is written.
	None = "none"
)

// Rate is a limit in bytes a second; 0 is no limit. Its text is what ParseRate
// reads.
type Rate int64

// ErrRate is what errors about text that is no rate match.
var ErrRate = errors.New("want bytes a second such as 20MB, 1.5MiB or 500kB, or none")

// ParseRate reads a rate: a number with an optional unit, kB, MB, GB (powers of
// 1000) or KiB, MiB, GiB (powers of 1024), upper or lower case, with or without
// "/s" behind it. "none" and 0 are no limit. Anything else is from MinRate to
// MaxRate.
func ParseRate(s string) (Rate, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	if text == None {
		return 0, nil
	}
	n, err := humanize.ParseBytes(strings.TrimSuffix(text, "/s"))
	if err != nil || n > uint64(MaxRate) {
		return 0, fmt.Errorf("%q: %w", s, ErrRate)
	}
	return Rate(n), Rate(n).Check()
}

// Check says whether r is a limit that can be kept, or none.
func (r Rate) Check() error {
	switch {
	case r == 0:
	case r < 0 || r > MaxRate:
		return fmt.Errorf("%d: %w", r, ErrRate)
	case r < MinRate:
		return fmt.Errorf("%d bytes a second get no piece through: want %s at least, or none", r, MinRate)
	}
	return nil
}

// String is the rate as ParseRate reads it: "20 MB/s", "1.0 MiB/s", "none".
func (r Rate) String() string {
	if r <= 0 {
		return None
	}
	for _, text := range []string{humanize.Bytes(uint64(r)), humanize.IBytes(uint64(r))} {
		if n, err := humanize.ParseBytes(text); err == nil && n == uint64(r) {
			return text + "/s"
		}
	}
	return strconv.FormatInt(int64(r), 10) + " B/s"
}

// UnmarshalText is ParseRate.
func (r *Rate) UnmarshalText(text []byte) error {
	n, err := ParseRate(string(text))
	if err == nil {
		*r = n
	}
	return err
}

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
