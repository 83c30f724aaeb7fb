package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

func TestOnlyThoseWhoWereRefusedHaveAReason(t *testing.T) {
	cut := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	for _, x := range []struct {
		err  error
		want transport.Reason
	}{
		{nil, ""},
		{io.EOF, ""},
		{io.ErrUnexpectedEOF, ""},
		{cut, ""},
		{net.ErrClosed, ""},
		{&net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, transport.ReasonTimeout},
		{context.DeadlineExceeded, transport.ReasonTimeout},
		{&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}, transport.ReasonProtocol},
		{errors.New("tls: oversized record received"), transport.ReasonProtocol},
		{identity.ErrProtocol, transport.ReasonProtocol},
		{fmt.Errorf("%w: no certificate", identity.ErrNoProof), transport.ReasonNoKey},
		{identity.ErrForeign, transport.ReasonForeign},
		{identity.ErrPrivate, transport.ReasonForeign},
		{identity.ErrExpired, transport.ReasonExpired},
		{fmt.Errorf("%w (%w)", identity.ErrRefused, cut), transport.ReasonBrokeOff},
		{fmt.Errorf("%w: nobody accepts", transport.ErrBusy), transport.ReasonBusy},
	} {
		if got := transport.ReasonOf(x.err); got != x.want {
			t.Errorf("%v: %q; want %q", x.err, got, x.want)
		}
		var told []transport.Refusal
		r := transport.Refusal{Scheme: "tls", Err: x.err}
		r.Tell(func(r transport.Refusal) { told = append(told, r) })
		r.Tell(nil)
		if x.want == "" && len(told) > 0 || x.want != "" && (len(told) != 1 || told[0].Reason != x.want) {
			t.Errorf("%v: told %v", x.err, told)
		}
	}
}
