//go:build !linux && !darwin && !windows

package metrics

import "errors"

// DiskRoom cannot be told on this system.
func DiskRoom(string) (free, size uint64, err error) { return 0, 0, errors.ErrUnsupported }
