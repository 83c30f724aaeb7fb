//go:build !linux

package tcp

type endReader struct{}

func (*endReader) init() {}

func (s *session) readEnd(p []byte) (int, error) { return s.read(p) }
