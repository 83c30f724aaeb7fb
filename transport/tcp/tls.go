package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// The types of TLS records (RFC 8446, section 5.1) that are told from a
// preface by their first byte.
const (
	tlsAlert     = 0x15
	tlsHandshake = 0x16
)

// needsKey is what one hears who does not begin with TLS where nothing else is
// spoken: a fatal alert, certificate_required.
const needsKey = "\x15\x03\x03\x00\x02\x02\x74"

// secured is a TLS connection, and the records below it.
type secured struct {
	*tls.Conn
	records *records
}

// client has one end of a TLS connection shake hands, as the dialler; server,
// as the acceptor. The caller bounds the time.
func client(ctx context.Context, c *net.TCPConn, cr *identity.Credentials) (*secured, error) {
	r := &records{TCPConn: c}
	config := cr.Client(alpn)
	config.DynamicRecordSizingDisabled = true // what is sent is large, or alone
	return handshake(ctx, &secured{tls.Client(r, config), r})
}

func server(ctx context.Context, c *net.TCPConn, head []byte, cr *identity.Credentials) (*secured, error) {
	r := &records{TCPConn: c, head: head}
	config := cr.Server(alpn)
	config.DynamicRecordSizingDisabled = true // as above
	s := &secured{tls.Server(r, config), r}
	_, err := handshake(ctx, s)
	if transport.ReasonOf(err) == transport.ReasonProtocol && s.ConnectionState().NegotiatedProtocol == alpn {
		// The hello was right. crypto/tls has no types for what can follow: no
		// certificate, or one whose private key it does not hold.
		err = fmt.Errorf("%w: %w", identity.ErrNoProof, err)
	}
	return s, err
}

func handshake(ctx context.Context, s *secured) (*secured, error) {
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, refusal(err)
	}
	return s, nil
}

// refusal says in plain words that the other end sent an alert. What the alert
// is called depends on what it missed.
func refusal(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("%w (%w)", identity.ErrRefused, op.Err)
	}
	return err
}

// secure has the dialler of a connection shake hands and exchange prefaces.
func (o Options) secure(ctx context.Context, c *net.TCPConn) (*secured, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0)) // fails only when the connection is gone
	})
	defer stop()
	sec, err := client(ctx, c, o.Credentials)
	if err == nil {
		_, err = sec.Write([]byte(preface))
	}
	if err == nil {
		// An acceptor judges this end's certificate last.
		var got [len(preface)]byte
		if _, err = io.ReadFull(sec, got[:]); err != nil {
			err = refusal(err)
		} else if string(got[:]) != preface {
			err = ErrNotMux
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if !stop() { // it has ended just now, and the deadline may be about to pass
		return nil, context.Cause(ctx)
	}
	return sec, nil
}

// records is the connection below TLS. A frame's records are kept together, so
// that they leave in one system call where TLS would make one for each 16 KiB.
type records struct {
	*net.TCPConn
	head []byte // was read before the handshake

	mu   sync.Mutex // also TLS writes by itself, when keys are to be changed
	kept *sealed    // nil: everything leaves at once
}

// sealed is room for the records of a frame of copiedPayload.
type sealed struct {
	n     int
	bytes [copiedPayload + 4<<10]byte
}

var sealedFrames = sync.Pool{New: func() any { return new(sealed) }}

// Read implements net.Conn.
func (r *records) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.TCPConn.Read(p)
}

// Write implements net.Conn. It takes whole records.
func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil {
		return r.TCPConn.Write(p)
	}
	if r.kept.n+len(p) > len(r.kept.bytes) {
		if err := r.send(); err != nil {
			return 0, err
		}
		if len(p) > len(r.kept.bytes) {
			return r.TCPConn.Write(p)
		}
	}
	r.kept.n += copy(r.kept.bytes[r.kept.n:], p)
	return len(p), nil
}

func (r *records) send() error {
	_, err := r.TCPConn.Write(r.kept.bytes[:r.kept.n])
	r.kept.n = 0
	return err
}

func (r *records) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = sealedFrames.Get().(*sealed)
}

// flush sends what was kept since keep, and ends keeping.
func (r *records) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.send()
	sealedFrames.Put(r.kept)
	r.kept = nil
	return err
}

// writeFrame sends a header, or several frames, and then payload. Only the
// owner of the write side calls it.
func (s *secured) writeFrame(header, payload []byte) error {
	if len(payload) == 0 {
		_, err := s.Write(header)
		return err
	}
	s.records.keep()
	_, err := s.Write(header)
	if err == nil {
		_, err = s.Write(payload)
	}
	if ferr := s.records.flush(); err == nil {
		err = ferr
	}
	return err
}
