package quic

import (
	"net"
	"syscall"
)

const bufferHint = "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000"

// growReadBuffer asks for a receive buffer of want bytes and returns what the
// kernel granted.
func growReadBuffer(udp *net.UDPConn, want int) (int, error) {
	return grow(udp, want, udp.SetReadBuffer, syscall.SO_RCVBUF, syscall.SO_RCVBUFFORCE)
}

// growWriteBuffer is growReadBuffer for the other direction.
func growWriteBuffer(udp *net.UDPConn, want int) (int, error) {
	return grow(udp, want, udp.SetWriteBuffer, syscall.SO_SNDBUF, syscall.SO_SNDBUFFORCE)
}

// readBuffer and writeBuffer are what the kernel grants without privileges.
func readBuffer(udp *net.UDPConn, want int) (int, error) {
	return grow(udp, want, udp.SetReadBuffer, syscall.SO_RCVBUF, 0)
}

func writeBuffer(udp *net.UDPConn, want int) (int, error) {
	return grow(udp, want, udp.SetWriteBuffer, syscall.SO_SNDBUF, 0)
}

// grow sets a buffer with set, which the kernel clamps to its limit in
// silence, and where that is too little with the option force, which only a
// process with CAP_NET_ADMIN may use; 0 for none.
func grow(udp *net.UDPConn, want int, set func(int) error, size, force int) (int, error) {
	if err := set(want); err != nil {
		return 0, err
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var granted int
	var opErr error
	err = raw.Control(func(fd uintptr) {
		granted, opErr = bufferSize(int(fd), size)
		if opErr != nil || granted >= want || force == 0 {
			return
		}
		if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, force, want) == nil {
			granted, opErr = bufferSize(int(fd), size)
		}
	})
	if err != nil {
		return 0, err
	}
	return granted, opErr
}

// bufferSize reads a buffer's size. The kernel doubles what was asked for, to
// cover its own bookkeeping, and reports the double (socket(7)).
func bufferSize(fd, option int) (int, error) {
	double, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, option)
	return double / 2, err
}
