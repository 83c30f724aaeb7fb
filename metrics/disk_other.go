//go:build !linux && !darwin && !windows

package metrics

import "errors"

func diskRoom(string) (free, size uint64, err error) { return 0, 0, errors.ErrUnsupported }
