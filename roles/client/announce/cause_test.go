package announce

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/mtor-dev/mtor/transport"
)

func TestCauseIsWhatAllTrackersAgreeOn(t *testing.T) {
	key, refused := errors.New("a swarm key is needed"), errors.New("connection refused")
	lost := func(err error) error {
		return fmt.Errorf("tracker a: read Hello: %w", &transport.SessionError{Err: err})
	}
	dial := func(err error) error { return &transport.DialError{Scheme: "tls", Addr: "a", Err: err} }
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"one tracker", lost(key), key},
		{"both, each in its own way", errors.Join(lost(key), errors.Join(dial(key), lost(key))), key},
		{"with something that says nothing", errors.Join(dial(fmt.Errorf("%w%.0w", key, refused)), lost(key)), key},
		{"each another", errors.Join(lost(key), dial(refused)), nil},
		{"one is silent", errors.Join(lost(key), dial(context.DeadlineExceeded)), nil},
		{"a session that ended in order", &transport.SessionError{Code: 3}, &transport.SessionError{Code: 3}},
	} {
		if got := cause(c.err); (got == nil) != (c.want == nil) || got != nil && got.Error() != c.want.Error() {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
