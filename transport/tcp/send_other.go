//go:build !linux

package tcp

import "io"

// try leaves everything to the flusher: there is no portable way to send
// without waiting.
func (t *transmit) try() bool { return len(t.out) == 0 }

type fileSender struct{}

func (*fileSender) init(*session) {}

func (st *stream) sendSection(*io.SectionReader) (int64, error) { return 0, errNoSendfile }
