// Package socket carries [control.API] to other processes of the same user:
// HTTP with JSON over a unix socket of mode 0600. [Serve] answers for an API,
// and a [Client] is the API again at the other end. openapi.yaml describes what
// is said, for other programs; a test holds it against this package.
//
// A request that may take long (a file is hashed or verified, downloads are
// waited for) is answered by a stream of [Event], one JSON object a line, at
// least one every beat.
package socket

import (
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// FileName is the socket's name in a client's state folder.
const FileName = "control.sock"

// Path is the socket of the client with a state folder.
func Path(stateDir string) string { return filepath.Join(stateDir, FileName) }

// Description is the OpenAPI description of what is served.
//
//go:embed openapi.yaml
var Description []byte

const (
	// beat is the longest silence in a stream of events; after silence the
	// other end gives up.
	beat    = 5 * time.Second
	silence = 6 * beat
	// answerTimeout bounds every other request: a pause, a removal and a quit
	// speak with trackers that may be gone, and wait for programs.
	answerTimeout = time.Minute
	// idleTimeout is how long a connection stays without a request.
	idleTimeout = time.Minute
	// headTimeout bounds the coming of a request.
	headTimeout = 10 * time.Second
	// maxHead bounds the header of a request, in bytes; maxRequest its body: two
	// paths of 4096 bytes fit with every byte escaped.
	maxHead    = 8 << 10
	maxRequest = 64 << 10
	// maxAnswer bounds what a client reads, in bytes: some hundred thousand
	// torrents.
	maxAnswer = 256 << 20
	// maxConns is how many connections are served at once; more wait.
	maxConns = 128
	// partingTime is how long requests that are under way may take to end once
	// Serve is to.
	partingTime = 2 * time.Second
)

// The codes of a [Refusal].
const (
	codeBadRequest = "bad_request"     // the request is malformed
	codeUnknown    = "unknown_torrent" // control.ErrUnknown
	codeUnfinished = "unfinished"      // control.ErrUnfinished
	codeFailed     = "failed"          // anything else; the text says what
)

// Refusal is the answer to a request that failed.
type Refusal struct {
	Text string `json:"error"`
	Code string `json:"code"`
}

// Error is the text alone, which is ready to be shown.
func (r *Refusal) Error() string { return r.Text }

// Is lets the errors of control.API come out of a stream as they went in.
func (r *Refusal) Is(target error) bool {
	return r.Code == codeUnknown && target == control.ErrUnknown ||
		r.Code == codeUnfinished && target == control.ErrUnfinished
}

func refusalOf(err error) *Refusal {
	r := &Refusal{Text: err.Error(), Code: codeFailed}
	var bad *badRequest
	switch {
	case errors.As(err, &bad):
		r.Code = codeBadRequest
	case errors.Is(err, control.ErrUnknown):
		r.Code = codeUnknown
	case errors.Is(err, control.ErrUnfinished):
		r.Code = codeUnfinished
	}
	return r
}

func (r *Refusal) status() int {
	switch r.Code {
	case codeBadRequest:
		return http.StatusBadRequest
	case codeUnknown:
		return http.StatusNotFound
	}
	return http.StatusConflict
}

// badRequest is what is wrong with a request itself.
type badRequest struct{ why string }

func (e *badRequest) Error() string { return e.why }

func badf(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

// The kinds of an [Event].
const (
	working = "working" // it goes on; a beat, or news of how far it is
	ended   = "done"    // the last: it is done
	failed  = "failed"  // the last: it is not
)

// Event is a line of a stream.
type Event struct {
	Event string `json:"event"` // "working", "done" or "failed"
	// Of working, where that is known: how far a file has been read.
	Done  int64 `json:"done_bytes,omitempty"`
	Total int64 `json:"total_bytes,omitempty"`
	// Of done: the torrent that was meant.
	Torrent *control.Download `json:"torrent,omitempty"`
	// Of a wait: the downloads that it was for.
	Torrents []control.Download `json:"torrents,omitempty"`
	// Of failed.
	Error *Refusal `json:"failure,omitempty"`
}

// The bodies of requests. Paths are absolute.
type (
	shareRequest struct {
		Path     string `json:"path"`
		Mtorrent string `json:"torrent_file"`
	}
	getRequest struct {
		Mtorrent string `json:"torrent_file"`
		Path     string `json:"path"`
	}
	relocateRequest struct {
		Path string `json:"path"`
	}
	waitRequest struct {
		Seconds float64 `json:"timeout_seconds,omitempty"` // 0 for no limit
	}
)

// The bodies of answers that are lists.
type (
	torrentList struct {
		Torrents []control.Download `json:"torrents"`
	}
	peerList struct {
		Peers []control.Peer `json:"peers"`
	}
)

// ErrNoClient is the error of a Client when none answers at its socket.
var ErrNoClient = errors.New("no client answers")
