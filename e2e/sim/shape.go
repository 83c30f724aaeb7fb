package sim

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// small is up to how many bytes a message goes past the pieces that wait: the
// carriers send control frames first, and beside a piece of the real size a
// message weighs nothing.
const small = 256

// host is one machine's line: all its sessions share it.
type host struct {
	up, down float64 // bytes a second; 0 is no limit
	latency  time.Duration
	sending  chan struct{} // held while a piece is put on the line, in the order of asking

	mu       sync.Mutex
	downFree time.Time // when the line in has delivered what is under way
	sent     int64     // bytes of pieces
}

func newHost(up, down float64, latency time.Duration) *host {
	return &host{up: up, down: down, latency: latency, sending: make(chan struct{}, 1)}
}

func (h *host) bytesSent() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// receive books n bytes on the line in and returns when they are here.
func (h *host) receive(n int) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.downFree.Before(now) {
		h.downFree = now
	}
	if h.down > 0 {
		h.downFree = h.downFree.Add(seconds(float64(n) / h.down))
	}
	return h.downFree
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// session is a session whose streams share the lines of two hosts.
type session struct {
	transport.Session
	from, to *host
}

func (s session) Open(ctx context.Context) (transport.Stream, error) {
	st, err := s.Session.Open(ctx)
	if err != nil {
		return nil, err
	}
	return stream{st, s}, nil
}

func (s session) Accept(ctx context.Context) (transport.Stream, error) {
	st, err := s.Session.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return stream{st, s}, nil
}

type stream struct {
	transport.Stream
	s session
}

func (st stream) Write(p []byte) (int, error) {
	if len(p) > small {
		if err := st.carry(len(p)); err != nil {
			return 0, err
		}
	}
	wait(st.s.from.latency)
	return st.Stream.Write(p)
}

// carry waits for as long as n bytes take out of one host and into the other.
// Bytes of a stream that has ended meanwhile are not sent.
func (st stream) carry(n int) error {
	from := st.s.from
	from.sending <- struct{}{}
	if _, err := st.Stream.Write(nil); err != nil {
		<-from.sending
		return err
	}
	if from.up > 0 {
		wait(seconds(float64(n) / from.up))
	}
	from.mu.Lock()
	from.sent += int64(n)
	from.mu.Unlock()
	<-from.sending
	wait(time.Until(st.s.to.receive(n)))
	return nil
}

// wait passes virtual time.
func wait(d time.Duration) {
	if d > 0 {
		time.Sleep(d) //nolint:forbidigo // virtual time
	}
}

func (st stream) ReadFrom(r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	n, err := st.Write(b)
	return int64(n), err
}
