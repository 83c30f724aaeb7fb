package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestAnUploadLimitIsKeptOverEachTransport measures in the one direction that a
// noisy machine cannot spoil: a limited upload is never faster than its limit.
// That it is hardly slower is shown in virtual time.
func TestAnUploadLimitIsKeptOverEachTransport(t *testing.T) {
	const limit, size = 4 << 20, 24 * pieceSize // 3 s
	for _, transport := range []string{"tcp", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t)
			s.write("data", size, 1)
			sharer := s.client(10, "sharer", "--transport", transport, "--upload-limit", "4MiB")
			sharer.do("share data x.mtorrent")
			began := time.Now()
			var downloaders []*client
			for i := range 2 {
				d := s.client(20+i, fmt.Sprintf("downloader-%d", i), "--transport", transport)
				d.do(fmt.Sprintf("get x.mtorrent copy-%d", i))
				downloaders = append(downloaders, d)
			}
			for i, d := range downloaders {
				d.do("wait")
				s.same("data", fmt.Sprintf("copy-%d", i))
			}
			// A burst of 100 ms may come first, and what is sent last is not
			// waited for.
			if took, least := time.Since(began), (size-limit/5)*time.Second/limit; took < least {
				t.Errorf("%d bytes came in %s: at %d a second they take %s at least", size, took, limit, least)
			}
		})
	}
}
