// Package control owns what a client can be asked to do: [API], the one path
// by which a menu, a page or a command reaches the running client.
package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"
)

// API is implemented by roles/client, and by control/socket for a client in
// another process. Paths may be relative to the working directory of the process
// that calls. Errors are ready to be shown: "<what>: <why>", in words that name
// what to do. Each method may be called from several goroutines.
//
// Where a torrent is to be named, its name is the path of its .mtorrent or the
// last component of that, its filename, or its ID in hex. A name of several is
// refused; one of none is [ErrUnknown].
type API interface {
	// Share makes (or reuses) the .mtorrent of a file, whose name must pass
	// CheckMtorrent, announces it and starts to seed. progress, if not nil, is
	// called now and then while the file is hashed.
	Share(ctx context.Context, path, mtorrent string, progress func(done, total int64)) (Download, error)
	// Get parses the .mtorrent, reserves the destination and answers; the
	// transfer goes on by itself. A destination that is an existing folder
	// keeps the torrent's filename.
	Get(ctx context.Context, mtorrent, dest string) (Download, error)
	// Downloads lists everything in the library in the order it was added.
	Downloads(ctx context.Context) ([]Download, error)
	// Peers lists the peers that are connected for a torrent, those that most
	// came from first. None are for one that does not run.
	Peers(ctx context.Context, name string) ([]Peer, error)
	// Remove takes a torrent off the trackers and out of the library and
	// deletes its .mtorrent, never the file; what an unfinished download has
	// stays too.
	Remove(ctx context.Context, name string) (Removed, error)
	// Pause takes a torrent off the trackers and off all peers, and leaves it so,
	// over restarts too, until Resume. What is there of it stays. Pause of one
	// that is paused does nothing.
	Pause(ctx context.Context, name string) (Download, error)
	// Resume goes on with a torrent that is paused, or that was stopped by an
	// error or missing. A file that has changed since is verified first, until
	// ctx ends. Resume of one that runs does nothing.
	Resume(ctx context.Context, name string) (Download, error)
	// Relocate goes on with a torrent at another place, to which the user has
	// moved or copied its file, folder or .part: a path, or a folder that holds
	// it under its name. All that the client has of it is verified there first,
	// and progress, if not nil, called now and then; on an error everything is
	// as it was. Nothing is moved or deleted.
	Relocate(ctx context.Context, name, path string, progress func(done, total int64)) (Download, error)
	// SeedUntil has a torrent paused once it is whole and one of the goals is
	// reached; the zero SeedGoal lets it seed on. It is kept over restarts.
	SeedUntil(ctx context.Context, name string, goal SeedGoal) (Download, error)
	// SetLimits changes the limits of one torrent, or with an empty name those of
	// all torrents together, and returns what they are then. They hold at once,
	// and until the client ends.
	SetLimits(ctx context.Context, name string, change LimitChange) (Limits, error)
	// Status tells of the client as a whole.
	Status(ctx context.Context) (Status, error)
	// Wait returns when no download is running or waits for room, nor a program
	// that the end of one has started, with those that were running at the call or
	// have failed since the client started; timeout 0 means no limit. When some are
	// still running at the timeout, it returns the list with [ErrUnfinished].
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
	NoRoom      State = "no_room"     // as Downloading, but waits for room on its disk; Note says which
	Seeding     State = "seeding"     // whole
	Paused      State = "paused"      // at rest because a user said so; Note says more
	Failed      State = "failed"      // stopped by an error; Note says which
	Missing     State = "missing"     // its file or .mtorrent is gone or changed; Note says which
)

// States lists them all.
var States = []State{Checking, Downloading, NoRoom, Seeding, Paused, Failed, Missing}

// Download is one line of `show downloads`.
type Download struct {
	ID       string  `json:"torrent_id"`   // 40 hex digits
	Name     string  `json:"name"`         // filename in the torrent
	Mtorrent string  `json:"torrent_file"` // absolute path of the .mtorrent
	Path     string  `json:"path"`         // absolute path of the file
	State    State   `json:"state"`
	Size     int64   `json:"size_bytes"`
	Done     int64   `json:"done_bytes"`            // verified
	DownRate float64 `json:"down_bytes_per_second"` // over the last seconds
	UpRate   float64 `json:"up_bytes_per_second"`   // over the last seconds
	Sent     int64   `json:"sent_bytes"`            // to peers, since it was added
	Peers    int     `json:"peers"`                 // connected for this torrent
	Note     string  `json:"note,omitempty"`        // what stands in the way, if anything; empty when all is well
	// Sources says how many pieces came from whom ("tcp 127.0.0.1:7001"), in
	// this run of the client.
	Sources map[string]int `json:"pieces_by_source"`
	// SeedUntil is when it is to be paused, nil for never.
	SeedUntil *SeedGoal `json:"seed_until,omitempty"`
}

// Peer is a peer that is connected for a torrent.
type Peer struct {
	Addr      string  `json:"address"`               // ip:port that it can be dialled at
	Transport string  `json:"transport"`             // "tcp", "quic", ...
	Node      string  `json:"node"`                  // its ID, hex
	Dialled   bool    `json:"dialled"`               // by this client
	Pieces    int     `json:"pieces"`                // it has
	Of        int     `json:"pieces_total"`          // that the torrent is cut into
	Received  int     `json:"pieces_received"`       // from it, in this session
	Asked     int     `json:"pieces_asked"`          // of it and not here yet
	DownRate  float64 `json:"down_bytes_per_second"` // from it, over the last seconds
	UpRate    float64 `json:"up_bytes_per_second"`   // to it, over the last seconds
}

// SeedGoal is when a whole torrent has been seeded enough: once as many bytes
// were sent as Ratio times its size, or it was seeded for Seconds, whichever
// comes first. 0 means that this does not count.
type SeedGoal struct {
	Ratio   float64 `json:"ratio,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
}

// MaxSeedTime is as long as any seeding: a longer time is not told from none.
const MaxSeedTime = 100 * 365 * 24 * time.Hour

// Check refuses a goal that no seeding could have.
func (g SeedGoal) Check() error {
	if !(g.Ratio >= 0 && g.Ratio <= math.MaxFloat64) { // false of what is no number
		return fmt.Errorf("ratio: %v, want 0 or more", g.Ratio)
	}
	if !(g.Seconds >= 0 && g.Seconds <= MaxSeedTime.Seconds()) {
		return fmt.Errorf("seconds: %v, want 0 to %.0f", g.Seconds, MaxSeedTime.Seconds())
	}
	return nil
}

// Status is a client at one moment.
type Status struct {
	Addr     string    `json:"address"`   // where it listens
	Listed   string    `json:"listed_as"` // what it announces
	StateDir string    `json:"state_folder"`
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Sessions int       `json:"sessions"` // with other clients
	// Torrents counts those of the library, by state; each state is there.
	Torrents map[State]int `json:"torrents"`
	DownRate float64       `json:"down_bytes_per_second"` // of all torrents
	UpRate   float64       `json:"up_bytes_per_second"`   // of all torrents
	Limits   Limits        `json:"limits"`
	Trackers []TrackerSet  `json:"tracker_sets"` // that the torrents name
}

// TrackerSet are the trackers of some torrents: one of them is enough.
type TrackerSet struct {
	Addrs     []string `json:"addresses"`
	Reachable bool     `json:"reachable"` // not all have failed
	Answered  bool     `json:"answered"`  // one has, since the client was started
}

// Removed is what Remove has left of an unfinished download: all zero when
// nothing had come yet, or the file is whole.
type Removed struct {
	Part   string `json:"part"`         // absolute path of what Get of the same file takes up
	Done   int    `json:"pieces"`       // verified, in it
	Pieces int    `json:"pieces_total"` // of so many
}

// Limits are bytes a second that may be sent and fetched; 0 means any number.
type Limits struct {
	Name string `json:"name,omitempty"` // filename in the torrent; empty for all torrents together
	Up   int64  `json:"up_bytes_per_second"`
	Down int64  `json:"down_bytes_per_second"`
}

// LimitChange is new limits, in bytes a second, 0 for none; nil leaves one as it
// is.
type LimitChange struct {
	Up   *int64 `json:"up_bytes_per_second,omitempty"`
	Down *int64 `json:"down_bytes_per_second,omitempty"`
}

// pieceSize is torrentfmt.PieceSize; this package imports nothing of mtor, so
// that a menu or a page that imports it imports no more.
const pieceSize = 512 << 10

// Absolute makes a path and that of an .mtorrent file absolute; neither may be empty.
func Absolute(path, mtorrent string) (string, string, error) {
	if path == "" || mtorrent == "" {
		return "", "", errors.New("a path is empty")
	}
	p, err := filepath.Abs(path)
	if err != nil {
		return "", "", err
	}
	m, err := filepath.Abs(mtorrent)
	return p, m, err
}

// CheckMtorrent refuses a name for what share writes that does not end in .mtorrent,
// so that a mistyped pair of paths is not taken for one.
func CheckMtorrent(path string) error {
	const ext = ".mtorrent" // torrentfmt.Ext; see pieceSize
	if !strings.HasSuffix(path, ext) {
		return fmt.Errorf("%s does not end in %s", path, ext)
	}
	return nil
}

// Pieces is how many pieces the file is cut into; 0 for an empty file.
func (d Download) Pieces() int { return int((d.Size + pieceSize - 1) / pieceSize) }

// Whole reports whether all of the file is there, durable and under its name.
func (d Download) Whole() bool {
	return d.State == Seeding || d.State == Paused && d.Done == d.Size
}

// Left is how long a download takes at its present rate; false if it does not
// download, or nothing comes.
func (d Download) Left() (time.Duration, bool) {
	if d.State != Downloading || d.DownRate < 1 {
		return 0, false
	}
	return time.Duration(min(float64(d.Size-d.Done)/d.DownRate, maxLeft.Seconds()) * float64(time.Second)), true
}

// maxLeft is as long as any answer of Left: more is of no interest, and would
// not fit.
const maxLeft = 1000 * time.Hour

var (
	// ErrUnfinished is what Wait returns when downloads still run at its timeout.
	ErrUnfinished = errors.New("downloads still running")
	// ErrUnknown is the answer to a name of no torrent in the library.
	ErrUnknown = errors.New("is not in the library")
)
