package tcp

import (
	"testing"

	"github.com/mtor-dev/mtor/transport/transporttest"
)

func BenchmarkPieces(b *testing.B) {
	b.Run("bare", transporttest.BenchmarkBare)
	b.Run("tcp", func(b *testing.B) { transporttest.Benchmark(b, New(Options{})) })
}
