package quic

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newQUIC(t testing.TB, o Options) transport.Transport {
	t.Helper()
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestContract(t *testing.T) { transporttest.Run(t, newQUIC(t, Options{})) }
