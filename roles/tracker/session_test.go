package tracker

import (
	"errors"
	"testing"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// ending waits for a session to be ended by the tracker.
func ending(t *testing.T, sess transport.Session) wire.Error {
	t.Helper()
	<-sess.Done()
	var end *transport.SessionError
	if !errors.As(sess.Err(), &end) || !end.Remote {
		t.Fatalf("session ended: %v", sess.Err())
	}
	return wire.Error(end.Code)
}

func TestStrangersTrackerIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		sess, err := w.table("10.7.7.7").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.hello(sess, wire.Role_ROLE_TRACKER)
		if got := ending(t, sess); got != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestClientCannotPull(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		sess, err := w.table("10.0.0.2").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.hello(sess, wire.Role_ROLE_CLIENT); err != nil {
			t.Fatal(err)
		}
		st, err := sess.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Write(st, &wire.Open{Kind: &wire.Open_Pull{Pull: &wire.Pull{}}}); err != nil {
			t.Fatal(err)
		}
		if got := ending(t, sess); got != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestMalformedRequestEndsItsSessionOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		good := w.call(addrA, "10.1.0.1:1")
		for name, b := range map[string][]byte{
			"garbage":             {5, 0xff, 0xff, 0xff, 0xff, 0xff},
			"an over-long length": {0xff, 0xff, 0xff, 0xff, 0x7f},
			"an endless hash string": func() []byte {
				req := announceNew(fileOf("f", 1), true)
				req.GetAnnounce().HashLength = 1 << 40
				b, _ := wire.Append(nil, req)
				return b
			}(),
			"half a request": {100, 1},
		} {
			bad := w.call(addrA, "10.1.0.2:2")
			if _, err := bad.st.Write(b); err != nil {
				t.Fatal(err)
			}
			want := wire.Error_ERROR_BAD_REQUEST
			if name == "half a request" {
				want = wire.Error_ERROR_TIMEOUT
			}
			if got := ending(t, bad.sess); got != want {
				t.Errorf("%s: ended with %v, want %v", name, got, want)
			}
			good.share(fileOf("f", 1))
		}
	})
}

func TestIdleSessionIsClosed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		if got := ending(t, c.sess); got != wire.Error_ERROR_TIMEOUT {
			t.Errorf("ended with %v", got)
		}
		mute, err := w.table("10.1.0.1").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		if got := ending(t, mute); got != wire.Error_ERROR_TIMEOUT {
			t.Errorf("without a hello: ended with %v", got)
		}
	})
}
