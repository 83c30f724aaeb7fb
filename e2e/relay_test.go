package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// cut is what a relay does with what comes.
type cut int

const (
	passing cut = iota // passes everything on
	refused            // ends what is open, and takes nothing new
	mute               // stalls what the dialled side says
	deaf               // stalls what the dialling side says
	severed            // stalls both
)

// relay passes TCP connections on to one address, until it is told to cut
// them. What it stalled is ended when the cut changes: a stream that lacks
// bytes in its middle is of no more use.
type relay struct {
	addr, to string
	from     net.IP // where it dials from
	wg       sync.WaitGroup

	mu    sync.Mutex
	how   cut
	conns map[net.Conn]bool
	moved chan struct{} // closed and replaced when how changes
}

// relay listens on an address of ip and dials to from another.
func (s *swarm) relay(ip, to, from string) *relay {
	s.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		s.Fatal(err)
	}
	r := &relay{
		addr: l.Addr().String(), to: to, from: net.ParseIP(from),
		conns: map[net.Conn]bool{}, moved: make(chan struct{}),
	}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(s.ctx, c) })
		}
	})
	s.Cleanup(func() {
		l.Close()
		r.set(refused)
		r.wg.Wait()
	})
	return r
}

// set changes what the relay does and ends what is open, unless nothing was
// wrong with it and it goes on silently.
func (r *relay) set(how cut) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.how != passing || how == refused {
		for c := range r.conns {
			c.Close()
		}
	}
	r.how = how
	close(r.moved)
	r.moved = make(chan struct{})
}

// now is what the relay does, and a channel that closes when that changes.
func (r *relay) now() (cut, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.how, r.moved
}

func (r *relay) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
	if r.how == refused {
		c.Close()
	}
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	c.Close()
}

func (r *relay) serve(ctx context.Context, in net.Conn) {
	r.keep(in)
	defer r.drop(in)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: r.from}, Timeout: 5 * time.Second}
	out, err := d.DialContext(ctx, "tcp", r.to)
	if err != nil {
		return
	}
	r.keep(out)
	defer r.drop(out)
	var ways sync.WaitGroup
	ways.Go(func() { r.pump(out, in, deaf) })
	ways.Go(func() { r.pump(in, out, mute) })
	ways.Wait()
}

// pump copies one direction, which stalls while the relay is severed or as in
// stalls.
func (r *relay) pump(dst, src net.Conn, stalls cut) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		for how, moved := r.now(); how == severed || how == stalls; how, moved = r.now() {
			<-moved
		}
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func TestRelayStallsOneWayAndEndsWhatItStalled(t *testing.T) {
	t.Parallel()
	s := standalone(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var echo sync.WaitGroup
	echo.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			echo.Go(func() {
				_, _ = io.Copy(c, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); echo.Wait() })
	r := s.relay("127.0.0.1", l.Addr().String(), "127.0.0.1")
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 1)
	say := func() error {
		if _, err := c.Write(b); err != nil {
			return err
		}
		_, err := io.ReadFull(c, b)
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	for _, how := range []cut{mute, deaf, severed} {
		r.set(how)
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if err := say(); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("cut %d: %v", how, err)
		}
		r.set(passing)
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err == nil {
			t.Log("ended in order") // either end is one
		}
		c.Close()
		if c, err = net.Dial("tcp", r.addr); err != nil {
			t.Fatal(err)
		}
		if err := say(); err != nil {
			t.Fatalf("after cut %d: %v", how, err)
		}
	}
}
