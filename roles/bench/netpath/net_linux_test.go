package netpath

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// joined makes a net, or skips where that is not allowed.
func joined(t *testing.T, p Path) *Net {
	t.Helper()
	if err := Check(); err != nil {
		t.Skip(err)
	}
	n, err := New(p)
	if errors.Is(err, ErrRights) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// connect opens a TCP connection from the far place to the near one, and says
// how long that took.
func connect(t *testing.T, n *Net) (near, far net.Conn, took time.Duration) {
	t.Helper()
	var l net.Listener
	err := n.Near.Do(func() (err error) {
		l, err = net.Listen("tcp4", n.Near.IP+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	err = n.Far.Do(func() (err error) {
		far, err = net.Dial("tcp4", l.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	t.Cleanup(func() { far.Close() })
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return near, far, took
}

func TestBytesCrossAPathWholeAndNoFasterThanItLets(t *testing.T) {
	p := Path{Rate: 40 * mbit, RTT: 30 * time.Millisecond, Loss: 0.01}
	n := joined(t, p)
	near, far, took := connect(t, n)
	if took < p.RTT {
		t.Errorf("connected within %s", took)
	}
	want := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(want)
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := near.Write(want)
		sent <- err
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	// What the line queues at its end is not waited for: the last byte is here.
	if took, least := time.Since(began), p.takes(len(want)); took < least {
		t.Errorf("%d bytes came within %s, the line alone takes %s", len(want), took, least)
	}
	if err := <-sent; err != nil || !bytes.Equal(got, want) {
		t.Errorf("not what was sent: %v", err)
	}
	s := n.Stats()
	if full := int64(len(want) / mtu); s.Carried < full || s.Lost == 0 {
		t.Errorf("%+v; at least %d packets were needed", s, full)
	}
}

func TestPathThatIsSetAnewHoldsForOpenConnections(t *testing.T) {
	n := joined(t, Path{Rate: MaxRate})
	near, far, _ := connect(t, n)
	p := Path{Rate: MaxRate, RTT: 50 * time.Millisecond, Queue: 1 << 20}
	if err := n.Set(p); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b := []byte{1}
	if _, err := near.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, b); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < p.RTT/2 {
		t.Errorf("came after %s", took)
	}
	if n.Set(Path{}) == nil {
		t.Error("a path without a rate was accepted")
	}
}

func TestPlacesHoldNothingOfTheMachine(t *testing.T) {
	n := joined(t, Path{Rate: MaxRate})
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range before {
		if i.Name == tunName {
			t.Error("the machine has the path's device")
		}
	}
	err = n.Far.Do(func() error {
		inside, err := net.Interfaces()
		for _, i := range inside {
			if i.Name != tunName && i.Flags&net.FlagUp != 0 {
				t.Errorf("%s is up in the place", i.Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The kernel ends a child that asks for it (PR_SET_PDEATHSIG) with the thread that
// started it: a place that let its thread end would take others' children along.
func TestClosedPlaceTakesNoProcessAlong(t *testing.T) {
	joined(t, Path{Rate: MaxRate}) // or skips
	for range 5 {
		n, err := New(Path{Rate: MaxRate})
		if err != nil {
			t.Fatal(err)
		}
		child := exec.Command("cat")
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		err = n.Near.Do(child.Start)
		n.Close()
		if err != nil {
			t.Fatal(err)
		}
		other, err := New(Path{Rate: MaxRate}) // by now a thread that ends has ended
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
		_ = in.Close() // fails if the child has ended, which Wait tells
		if err := child.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
