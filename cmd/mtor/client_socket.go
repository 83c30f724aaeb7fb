package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/roles/client/control/socket"
)

// controlSocket is the socket of a running client.
type controlSocket struct {
	path string // empty if there is none
	end  func() // answers what is under way, and takes it away
}

// serveControl answers for a client on its control socket, if it is to have one.
// setting is what the user says of it.
func serveControl(ctx context.Context, api control.API, setting, state string, log *slog.Logger) (controlSocket, error) {
	path, given := setting, setting != ""
	switch setting {
	case config.SocketNone:
		return controlSocket{end: func() {}}, nil
	case "":
		path = socket.Path(state)
	}
	path, err := filepath.Abs(path)
	var l net.Listener
	if err == nil {
		l, err = socket.Listen(ctx, path)
	}
	if errors.Is(err, socket.ErrPathTooLong) && !given {
		log.Warn("no control socket: give --socket a shorter path", "error", err)
		return controlSocket{end: func() {}}, nil
	}
	if err != nil {
		return controlSocket{}, err
	}
	// It outlives ctx: who asks for the end of the client hears that it has come.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var over sync.WaitGroup
	over.Go(func() {
		if err := socket.Serve(serving, l, api); err != nil {
			log.Error("control socket failed", "error", err)
		}
	})
	return controlSocket{path: path, end: func() {
		stop()
		over.Wait()
	}}, nil
}
