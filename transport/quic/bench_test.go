package quic

import (
	"testing"

	"github.com/mtor-dev/mtor/transport/transporttest"
)

func BenchmarkPieces(b *testing.B) {
	tr, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	transporttest.Benchmark(b, tr)
}
