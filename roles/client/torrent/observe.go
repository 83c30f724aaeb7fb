package torrent

import (
	"context"
	"errors"
	"time"

	"github.com/mtor-dev/mtor/roles/client/peer"
)

// Observer hears what happens to the pieces of torrents, for whoever counts it.
// Each function may be nil, is called from many goroutines and must not block.
type Observer struct {
	// Received hears of each piece that came whole, before it is verified: how
	// many bytes, over which transport, and how long after it was asked for.
	Received func(transport string, bytes int, took time.Duration)
	// Sent hears of bytes of a piece that were sent over a transport.
	Sent func(transport string, bytes int64)
	// Ended hears what came of each piece that was asked for: "verified",
	// "bad_hash", "not_written", "stalled", "cancelled" or "refused".
	Ended func(result string)
	// Banned hears of a peer that is banned for a torrent.
	Banned func()
}

func (o *Observer) ended(err error) {
	if o.Ended != nil {
		o.Ended(resultOf(err))
	}
}

// resultOf is the word for how a fetch ended.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "verified"
	case errors.Is(err, errBadPiece), errors.Is(err, peer.ErrLength):
		return "bad_hash"
	case errors.Is(err, errDisk):
		return "not_written"
	case errors.Is(err, peer.ErrStalled):
		return "stalled"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "refused"
}
