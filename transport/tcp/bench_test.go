package tcp

import (
	"io"
	"testing"

	"github.com/mtor-dev/mtor/transport/transporttest"
)

func BenchmarkPieces(b *testing.B) {
	b.Run("bare", transporttest.BenchmarkBare)
	b.Run("tcp", func(b *testing.B) { transporttest.Benchmark(b, New(Options{})) })
	b.Run("bareTLS", transporttest.BenchmarkBareTLS)
	b.Run("tls", func(b *testing.B) { transporttest.Benchmark(b, NewTLS(Options{})) })
}

// BenchmarkRequests sends requests of 100 bytes on one stream without waiting
// for the answers, each in a Write of its own, as a busy tracker sees them.
func BenchmarkRequests(b *testing.B) {
	near, far := testPair(b)
	st := open(b, near)
	if _, err := st.Write(make([]byte, 100)); err != nil {
		b.Fatal(err)
	}
	other := accept(b, far)
	reading := later(func() error {
		buf := make([]byte, 32<<10)
		for {
			if _, err := other.Read(buf); err == io.EOF {
				return other.Close()
			} else if err != nil {
				return err
			}
		}
	})
	msg := make([]byte, 100)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := st.Write(msg); err != nil {
			b.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-reading; err != nil {
		b.Fatal(err)
	}
}
