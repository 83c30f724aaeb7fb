//go:build !linux

package quic

import "net"

const bufferHint = "raise the system's limit on socket buffers"

// growReadBuffer asks for a receive buffer of want bytes. These systems refuse
// what they will not grant, so that no error means all of it.
func growReadBuffer(udp *net.UDPConn, want int) (int, error) {
	if err := udp.SetReadBuffer(want); err != nil {
		return 0, err
	}
	return want, nil
}

// readBuffer and writeBuffer are what the system grants.
func readBuffer(udp *net.UDPConn, want int) (int, error)  { return growReadBuffer(udp, want) }
func writeBuffer(udp *net.UDPConn, want int) (int, error) { return growWriteBuffer(udp, want) }

// growWriteBuffer is growReadBuffer for the other direction.
func growWriteBuffer(udp *net.UDPConn, want int) (int, error) {
	if err := udp.SetWriteBuffer(want); err != nil {
		return 0, err
	}
	return want, nil
}
