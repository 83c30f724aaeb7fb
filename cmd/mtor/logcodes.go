package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// nameCodes says in a log's errors what their codes mean: transports carry them
// and do not know.
func nameCodes(_ []string, a slog.Attr) slog.Attr {
	err, ok := a.Value.Any().(error)
	if !ok {
		return a
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
