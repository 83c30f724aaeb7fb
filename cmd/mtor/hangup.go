package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/term"

	"github.com/mtor-dev/mtor/config"
)

// obeyHUP reopens the log file and reloads the settings at each SIGHUP until
// stop is called, which waits. A SIGHUP that comes because the terminal closed
// is another matter: the program ends, as whatever runs on a terminal does.
func (l *roleLog) obeyHUP() (stop func()) {
	attended := onTerminal()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-signals:
			case <-over:
				return
			}
			if attended && !onTerminal() {
				l.Info("the terminal was closed; ending")
				terminateSelf(l.Logger)
				continue
			}
			notifyReloading(l.Logger)
			l.reopen()
			if reload := l.reload.Load(); reload != nil {
				(*reload)()
			}
			notify(l.Logger, daemon.SdNotifyReady)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-ended
	}
}

// onTerminal reports whether the program's input is a terminal. One that has
// closed is none any more.
func onTerminal() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// terminateSelf has the program end as on a SIGTERM, with its deadline.
func terminateSelf(log *slog.Logger) {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		log.Error("cannot end after the terminal was closed", "err", err)
	}
}

// reloads has the role's settings read anew at each SIGHUP. apply takes over
// those that can change while the role runs, all or, with an error, none; it is
// given nothing that was not checked.
func reloads[T config.Settings](l *roleLog, defaults T, from config.Sources, running T, apply func(T) error) {
	if from.File == "" {
		return // neither arguments nor the environment can have changed
	}
	reload := func() {
		next, err := config.Load(defaults, from)
		if err == nil {
			err = next.Check()
		}
		if err != nil {
			l.Error("settings not reloaded, all stay as they are", "error", err)
			return
		}
		now, live, fixed := config.Reload(running, next.Settings)
		if err := apply(now); err != nil {
			l.Error("settings not reloaded, all stay as they are", "error", err)
			return
		}
		running = now
		if len(fixed) > 0 {
			l.Warn("changed settings ignored until the next start", "settings", fixed)
		}
		l.Info("settings reloaded", "file", from.File, "changed", live)
	}
	l.reload.Store(&reload)
}
