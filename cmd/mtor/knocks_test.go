package main

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtor-dev/mtor/config"
	"github.com/mtor-dev/mtor/metrics"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

func TestStrangersAreAllCountedAndDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		counted := map[string]int{}
		k := newKnocks(newLogger(&log, config.LogText, slog.LevelInfo))
		k.count = func(transport, reason string) { counted[transport+" "+reason]++ }
		knock := func(n int, why transport.Reason, err error) {
			for range n {
				k.refused(transport.Refusal{
					Scheme: "tls", From: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 4711}, Reason: why, Err: err,
				})
			}
		}
		knock(1000, transport.ReasonForeign, identity.ErrForeign)
		knock(1, transport.ReasonExpired, identity.ErrExpired) // which the others do not hide
		time.Sleep(knockEvery)                                 //nolint:forbidigo // virtual time
		knock(3, transport.ReasonForeign, identity.ErrForeign)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || counted["tls foreign"] != 1003 || counted["tls expired"] != 1 {
			t.Fatalf("counted %v; logged\n%s", counted, log.String())
		}
		for _, want := range []string{
			`level=INFO msg="handshake refused" from=10.0.0.9:4711 transport=tls reason=foreign`,
			"it holds another swarm key, or none", "--swarm-key",
		} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("%s\nlacks %s", lines[0], want)
			}
		}
		if !strings.Contains(lines[1], "reason=expired") || !strings.HasSuffix(lines[2], " unlogged=999") {
			t.Errorf("logged\n%s", log.String())
		}
	})
}

func TestStrangersWordsAreCutInTheLog(t *testing.T) {
	var log strings.Builder
	k := newKnocks(newLogger(&log, config.LogText, slog.LevelInfo))
	k.refused(transport.Refusal{
		From: &net.TCPAddr{}, Reason: transport.ReasonProtocol, Err: fmt.Errorf("it speaks %s", strings.Repeat("\x00", 64<<10)),
	})
	if n := log.Len(); n > 8*maxKnockWords {
		t.Errorf("a line of %d bytes", n)
	}
}

func TestEveryReasonIsCounted(t *testing.T) {
	var want []string
	for _, r := range transport.Reasons {
		want = append(want, string(r))
	}
	if !slices.Equal(metrics.Refusals, want) {
		t.Errorf("counted are %q; want %q", metrics.Refusals, want)
	}
}
