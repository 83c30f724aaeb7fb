package main

import (
	"context"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager (systemd, Type=notify) what becomes of this
// process, if there is one that wants to know. See sd_notify(3).
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("the service manager was not told", "state", state, "error", err)
	}
}

// notifyReloading tells it that settings are read anew, until ready is said
// again. Type=notify-reload wants the time, Type=notify does not mind it.
func notifyReloading(log *slog.Logger) {
	notify(log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
}

// started tells it that the role serves, and that it stops as soon as ctx ends.
// The function that it returns waits for that, once the role has ended.
func started(ctx context.Context, log *slog.Logger) (ended func()) {
	notify(log, daemon.SdNotifyReady)
	over, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		<-over.Done()
		notify(log, daemon.SdNotifyStopping)
	}()
	return func() {
		cancel()
		<-told
	}
}
