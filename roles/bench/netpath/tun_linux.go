package netpath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	tunDevice = "/dev/net/tun"
	tunName   = "path0"
	// tunQueue is how many packets the device keeps for the relay: more than
	// any sender can have on its way before the relay is on the processor, so
	// that what is dropped is dropped by the path.
	tunQueue = 20_000
)

// openTUN makes the namespace's device with the address ip/30, of which the
// other end has the other one, and brings it up.
func openTUN(ip string) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tunDevice, err)
	}
	if err := configure(fd, ip); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	// The file system has marked it as non-blocking, so that reads wait in the
	// runtime's poller and end with Close.
	return os.NewFile(uintptr(fd), tunDevice), nil
}

func configure(tun int, ip string) error {
	made, err := unix.NewIfreq(tunName)
	if err != nil {
		return err
	}
	made.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, made); err != nil {
		return fmt.Errorf("make a TUN device: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(socket) }() // only to ask by
	addr, mask := netip.MustParseAddr(ip).As4(), [4]byte{255, 255, 255, 252}
	for _, step := range []struct {
		what string
		call uint
		set  func(*unix.Ifreq) error
	}{
		{"queue length", unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(tunQueue); return nil }},
		{"MTU", unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{"address", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr[:]) }},
		{"netmask", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(mask[:]) }},
		{"flags", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(tunName)
		if err != nil {
			return err
		}
		if err := step.set(r); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(socket, step.call, r); err != nil {
			return fmt.Errorf("set the %s of a TUN device: %w", step.what, err)
		}
	}
	// What TCP learned of the path on one connection must not help the next.
	return os.WriteFile("/proc/sys/net/ipv4/tcp_no_metrics_save", []byte("1"), 0)
}
