package peer

import (
	"testing"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestStrideIsWhatTakesATenthOfASecondInWholePagesUpToAPiece(t *testing.T) {
	for _, c := range []struct {
		n    int64
		took time.Duration
		want int64
	}{
		{minStride, 0, torrentfmt.PieceSize},
		{minStride, 25 * time.Millisecond, torrentfmt.PieceSize},
		{minStride, 26 * time.Millisecond, 3 * minStride},
		{minStride, 100 * time.Millisecond, minStride},
		{minStride, time.Minute, minStride},
		{1, time.Second, minStride},
		{torrentfmt.PieceSize, 200 * time.Millisecond, 2 * minStride},
		{torrentfmt.PieceSize, time.Hour, minStride},
	} {
		if got := nextStride(c.n, c.took); got != c.want {
			t.Errorf("after %d bytes in %v it is %d: want %d", c.n, c.took, got, c.want)
		}
	}
}
