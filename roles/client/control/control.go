// Package control owns what a client can be asked to do: [API], the one path
// by which a menu or a command reaches the running client.
package control

import (
	"context"
	"errors"
	"time"
)

// API is implemented by roles/client. Paths may be relative to the working
// directory of the process that serves the API. Errors are ready to be shown:
// "<what>: <why>", in words that name what to do. Each method may be called
// from several goroutines.
type API interface {
	// Share makes (or reuses) the .mtorrent of a file, announces it and
	// starts to seed. progress, if not nil, is called now and then while the
	// file is hashed.
	Share(ctx context.Context, path, mtorrent string, progress func(done, total int64)) (Download, error)
	// Get parses the .mtorrent, reserves the destination and answers; the
	// transfer goes on by itself. A destination that is an existing folder
	// keeps the torrent's filename.
	Get(ctx context.Context, mtorrent, dest string) (Download, error)
	// Downloads lists everything in the library in the order it was added.
	Downloads(ctx context.Context) ([]Download, error)
	// Remove takes a torrent off the trackers and out of the library and
	// deletes its .mtorrent, never the file; what an unfinished download has
	// stays too. mtorrent is a path, or the last component of one when that is
	// unambiguous.
	Remove(ctx context.Context, mtorrent string) (Removed, error)
	// SetLimits changes the limits of one torrent, named as for Remove, or with
	// an empty name those of all torrents together, and returns what they are
	// then. They hold at once, and until the client ends.
	SetLimits(ctx context.Context, mtorrent string, change LimitChange) (Limits, error)
	// Wait returns when no download is running or paused, nor a program that the end of
	// one has started, with those that were running at the call or have failed
	// since the client started; timeout 0 means no limit. When some are still running at the timeout, it returns the list
	// with [ErrUnfinished].
	Wait(ctx context.Context, timeout time.Duration) ([]Download, error)
	// Quit takes the client out of all seeder lists and ends it; it returns
	// when that is done, or with an error when ctx ends before. A Wait that
	// is pending then fails.
	Quit(ctx context.Context) error
}

// State is where a torrent stands in the library.
type State string

// The states of a torrent.
const (
	Checking    State = "checking"    // in the library, not looked at yet since the start
	Downloading State = "downloading" // wants pieces, seeds those it has
	Paused      State = "paused"      // as Downloading, but waits for room on its disk; Note says which
	Seeding     State = "seeding"     // whole
	Failed      State = "failed"      // stopped by an error; Note says which
	Missing     State = "missing"     // its file or .mtorrent is gone or changed; Note says which
)

// Download is one line of `show downloads`.
type Download struct {
	Name     string // filename in the torrent
	Mtorrent string // absolute path of the .mtorrent
	Path     string // absolute path of the file
	State    State
	Size     int64   // bytes
	Done     int64   // bytes verified
	DownRate float64 // bytes a second, over the last seconds
	UpRate   float64 // bytes a second, over the last seconds
	Peers    int     // connected for this torrent
	Note     string  // what stands in the way, if anything; empty when all is well
	// Sources says how many pieces came from whom ("tcp 127.0.0.1:7001"), in
	// this run of the client.
	Sources map[string]int
}

// Removed is what Remove has left of an unfinished download: all zero when
// nothing had come yet, or the file is whole.
type Removed struct {
	Part   string // absolute path of what Get of the same file takes up
	Done   int    // verified pieces in it
	Pieces int    // of so many
}

// Limits are bytes a second that may be sent and fetched; 0 means any number.
type Limits struct {
	Name     string // filename in the torrent; empty for all torrents together
	Up, Down int64
}

// LimitChange is new limits, in bytes a second, 0 for none; nil leaves one as it
// is.
type LimitChange struct{ Up, Down *int64 }

// pieceSize is torrentfmt.PieceSize; this package imports nothing of mtor, so
// that a menu or a page that imports it imports no more.
const pieceSize = 512 << 10

// Pieces is how many pieces the file is cut into; 0 for an empty file.
func (d Download) Pieces() int { return int((d.Size + pieceSize - 1) / pieceSize) }

// ErrUnfinished is what Wait returns when downloads still run at its timeout.
var ErrUnfinished = errors.New("downloads still running")
