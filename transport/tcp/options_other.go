//go:build !linux

package tcp

import (
	"errors"
	"time"
)

var errNoCongestion = errors.New("the congestion control can be chosen on Linux alone")

// CheckCongestion says whether sockets can have the congestion control of that
// name: nil, or in a word why not.
func CheckCongestion(string) error { return errNoCongestion }

func setCongestion(uintptr, string) error { return errNoCongestion }

func setUserTimeout(uintptr, time.Duration) {}
