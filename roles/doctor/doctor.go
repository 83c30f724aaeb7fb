// Package doctor looks for what keeps a client or a tracker from working, before
// anybody has to wonder: the ways to the trackers and back, whether the trackers
// agree, and this machine's own limits. Each finding is a [Line] that says how it
// is and, where it is not well, the command that mends it.
//
// It changes nothing but that it binds the role's port, if that is free, for as
// long as it looks, and writes and removes an empty file in the role's folders.
package doctor

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// Result is how one thing was found.
type Result string

// The results, from good to bad.
const (
	OK      Result = "ok"
	Warning Result = "warning" // works, and could be better, or could not be looked at
	Failed  Result = "failed"  // does not work
)

// Line is one finding.
type Line struct {
	// Check is what was looked at, one of the words of this package's check
	// functions: tracker_tcp, tracker_udp, trackers_agree, clock, address,
	// own_port_tcp, own_port_udp, udp_buffers, open_files, folder, free_space.
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"` // which one: an address, a path
	Result  Result `json:"result"`
	Detail  string `json:"detail"` // one line, for people
	// Mend is a shell command that mends it, or shows more where no command
	// could mend it; On is the host to give it on, empty for this one.
	Mend string `json:"mend,omitempty"`
	On   string `json:"mend_on,omitempty"`
}

// Folder is a folder that the role writes to.
type Folder struct {
	Of   string // what for: state, seederlist, downloads, log
	Path string
	// File is what is to be written in it; empty for any.
	File string
}

// Options say what to look at.
type Options struct {
	Role string // client or tracker
	// ID is what the key proves that Carriers present; zero for one drawn at
	// random, for those that prove nothing.
	ID [wire.NodeIDSize]byte
	// Listen is the ip:port that the role binds, Own the one that it is known by;
	// port 0 takes a free one.
	Listen string
	Own    netip.AddrPort
	// Trackers are those of a client, or the others of a tracker, as configured.
	Trackers []string
	// Carriers are those that the role listens on, and Dials the schemes of those
	// that it dials over.
	Carriers transport.Table
	Dials    []string
	// Buffers are the bytes that a UDP socket was granted without privileges in
	// each direction, and BuffersWanted what QUIC asks for; 0 if not known.
	BuffersReceive, BuffersSend, BuffersWanted int
	// Files is how many files and connections the role may have open.
	Files   uint64
	Folders []Folder
	Tools   Tools
	Log     *slog.Logger // nil: silent
}

// Examine looks at everything. It takes some seconds at most, longer than that
// only where somebody on the network is silent, and no longer than ctx lives.
func Examine(ctx context.Context, o Options) []Line {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &examination{Options: o}
	d := e.open(ctx)
	defer d.close()
	lines := e.ways(ctx, d)
	lines = append(lines, e.machine()...)
	return lines
}

// examination is one run.
type examination struct{ Options }

const (
	// dialTimeout bounds a dial with its hello: what takes longer on a network where
	// people wait for downloads is not well.
	dialTimeout = 3 * time.Second
	// guestTimeout bounds the stay of whoever dials back.
	guestTimeout = 10 * time.Second
	// lookAgain is how often trackers are asked until they agree, pause how long
	// after each other: changes take milliseconds from one to the other.
	lookAgain = 4
	pause     = 500 * time.Millisecond
)

// Worst is the worst result of all lines, OK without any.
func Worst(lines []Line) Result {
	worst := OK
	for _, l := range lines {
		if l.Result == Failed || l.Result == Warning && worst == OK {
			worst = l.Result
		}
	}
	return worst
}
