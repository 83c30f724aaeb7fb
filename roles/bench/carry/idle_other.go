//go:build !linux

package carry

// watchIdle cannot tell here.
func watchIdle() (idle func() float64) { return func() float64 { return -1 } }
