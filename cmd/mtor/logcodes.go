package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// inWords says in a log's errors what their codes mean, since transports carry them
// and do not know, and what the system says of a file without its calls' names.
func inWords(_ []string, a slog.Attr) slog.Attr {
	err, ok := a.Value.Any().(error)
	if !ok {
		return a
	}
	var file *fs.PathError
	var link *os.LinkError
	if errors.As(err, &file) || errors.As(err, &link) {
		return slog.String(a.Key, plain.Error(err).Error())
	}
	var code transport.Code
	var stream *transport.AbortError
	var session *transport.SessionError
	switch {
	case errors.As(err, &stream):
		code = stream.Code
	case errors.As(err, &session):
		code = session.Code
	default:
		return a
	}
	words := wire.Error(code).Words()
	return slog.String(a.Key, strings.Replace(err.Error(), fmt.Sprintf("(code %d)", code), "("+words+")", 1))
}
