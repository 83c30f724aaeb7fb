package quic

import (
	"context"
	"net"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
)

// knocks tells of the handshakes of a listener that came to nothing. quic-go
// says so nowhere but in the end of the context that a connection has from its
// first packet on.
type knocks struct {
	refused func(transport.Refusal)

	mu    sync.Mutex
	ended bool
	tasks sync.WaitGroup // that tell
}

// leaveKey is the key of the value by which a connection's context is left.
type leaveKey struct{}

// begin is a quicgo.Transport's ConnContext.
func (k *knocks) begin(ctx context.Context, from *quicgo.ClientInfo) (context.Context, error) {
	leave := context.AfterFunc(ctx, func() { k.tell(from.RemoteAddr, context.Cause(ctx)) })
	return context.WithValue(ctx, leaveKey{}, leave), nil
}

// letIn has nothing be told of a connection that was accepted.
func letIn(conn *quicgo.Conn) {
	if leave, ok := conn.Context().Value(leaveKey{}).(func() bool); ok {
		leave()
	}
}

func (k *knocks) tell(from net.Addr, err error) {
	k.mu.Lock()
	if k.ended { // it is this side that ends all of them
		k.mu.Unlock()
		return
	}
	k.tasks.Add(1)
	k.mu.Unlock()
	defer k.tasks.Done()
	transport.Refusal{Scheme: Scheme, From: unmapped(from), Err: knockError(err)}.Tell(k.refused)
}

// end has nothing be told any more.
func (k *knocks) end() {
	k.mu.Lock()
	k.ended = true
	k.mu.Unlock()
	k.tasks.Wait()
}
