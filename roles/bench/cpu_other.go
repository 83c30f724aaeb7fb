//go:build !linux

package bench

import "time"

// cpuOf is known on Linux alone.
func cpuOf(int) (time.Duration, bool) { return 0, false }
