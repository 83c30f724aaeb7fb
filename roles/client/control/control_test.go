package control

import (
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestPiecesAreThoseOfTheTorrent(t *testing.T) {
	const piece = torrentfmt.PieceSize
	for _, size := range []int64{0, 1, piece - 1, piece, piece + 1, 2 * piece, torrentfmt.MaxPieces * piece} {
		if got, want := (Download{Size: size}).Pieces(), torrentfmt.NumPieces(size); got != want {
			t.Errorf("%d bytes: %d pieces, want %d", size, got, want)
		}
	}
}
