package tracker

import (
	"context"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/transport"
)

// links is what is known of the trackers that this one pulls from, by their
// configured addresses. Who pulls from this one is the registry's to know.
type links struct {
	mu   sync.Mutex
	by   map[string]*link
	call context.Context // ends when another tracker calls
	wake context.CancelFunc
}

// called notes that another tracker has called: one that was away is back.
func (l *links) called() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake != nil {
		l.wake()
		l.call, l.wake = nil, nil
	}
}

// nextCall is a context that ends when another tracker calls.
func (l *links) nextCall() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.call == nil {
		l.call, l.wake = context.WithCancel(context.Background())
	}
	return l.call
}

type link struct {
	node    registry.NodeID
	open    bool
	contact time.Time // when the last byte came
}

// dialled notes that this tracker pulls from the one at addr over st, which
// must be read through the stream that it returns, until closed is called.
func (l *links) dialled(addr string, node registry.NodeID, st transport.Stream) (through transport.Stream, closed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]*link{}
	}
	x := &link{node: node, open: true, contact: time.Now()}
	l.by[addr] = x
	return &heard{st, l, x}, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		x.open = false
	}
}

// to is the link to the tracker at addr; known is false if it was never made.
func (l *links) to(addr string) (x link, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.by[addr]; p != nil {
		return *p, true
	}
	return link{}, false
}

// name is the configured address of a tracker that was dialled once, or its ID.
func (l *links) name(n registry.NodeID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr, x := range l.by {
		if x.node == n {
			return addr
		}
	}
	return n.String()
}

// heard is a stream that notes when something came over it.
type heard struct {
	transport.Stream
	links *links
	link  *link
}

// Read implements io.Reader.
func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Stream.Read(b)
	if n > 0 {
		h.links.mu.Lock()
		h.link.contact = time.Now()
		h.links.mu.Unlock()
	}
	return n, err
}
