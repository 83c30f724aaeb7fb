//go:build unix

package transporttest

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is what this process has used so far, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU adds the CPU seconds that both ends took for a GiB.
func reportCPU(b *testing.B, before time.Duration) {
	gib := float64(b.N) * benchPiece / (1 << 30)
	b.ReportMetric((cpuTime()-before).Seconds()/gib, "cpu-s/GiB")
}
