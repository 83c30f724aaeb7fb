package tcp

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTCPKeepsTheContract(t *testing.T) { transporttest.Run(t, New(Options{})) }

func TestTLSKeepsTheContract(t *testing.T) { transporttest.Run(t, NewTLS(Options{})) }

func TestTLSKeepsTheContractInAPrivateSwarm(t *testing.T) {
	transporttest.Run(t, NewTLS(Options{Credentials: transporttest.NewSwarm(t).Member(t)}))
}
