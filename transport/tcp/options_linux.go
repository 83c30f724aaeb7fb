package tcp

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// available is where the kernel names the congestion controls that it has
// loaded.
const available = "/proc/sys/net/ipv4/tcp_available_congestion_control"

// CheckCongestion says whether sockets of this process can have the congestion
// control of that name (tcp(7), TCP_CONGESTION): nil, or in a word why not and
// what to do about it.
func CheckCongestion(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // it was never connected
	err = setCongestion(uintptr(fd), name)
	switch {
	case errors.Is(err, unix.ENOENT):
		has := "other ones"
		if b, err := os.ReadFile(available); err == nil {
			has = strings.Join(strings.Fields(string(b)), ", ")
		}
		return fmt.Errorf("the kernel has no congestion control %q, only %s (modprobe tcp_%[1]s may load it)", name, has)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("congestion control %q is for root alone (sysctl net.ipv4.tcp_allowed_congestion_control)", name)
	}
	return err
}

func setCongestion(fd uintptr, name string) error {
	return unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}

func setUserTimeout(fd uintptr, d time.Duration) {
	// Kernels before 2.6.37 do without.
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}
