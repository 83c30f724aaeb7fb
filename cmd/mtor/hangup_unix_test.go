//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/demo/process"
	"github.com/mtor-dev/mtor/torrentfmt"
)

// await waits until the file at path holds a text.
func await(t *testing.T, path, text string) {
	t.Helper()
	ctx := patient(t)
	tick := time.NewTicker(10 * time.Millisecond) // a file has no event that every system has
	defer tick.Stop()
	for {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not hold %q:\n%s", path, text, b)
		}
	}
}

// hangup has a role read its settings anew.
func hangup(t *testing.T, p *process.Process, file, settings string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// freeAddr is a loopback address whose port was free a moment ago. On Linux,
// where all of 127.0.0.0/8 is at hand, its IP is its own, so that nobody else is
// given the same port before it is taken.
func freeAddr(t *testing.T) string {
	t.Helper()
	ip := "127.0.0.1"
	if runtime.GOOS == "linux" {
		n := rand.Uint32N(1 << 23)
		ip = fmt.Sprintf("127.%d.%d.%d", 64+n>>17, n>>9&0xff, 1+n>>2&0x7f)
	}
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestHangupTakesOverWhatCanChangeAndNothingOfAFileThatIsWrong(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	file, log := filepath.Join(dir, "one.yaml"), filepath.Join(dir, "one.log")
	first, second := freeAddr(t), freeAddr(t)
	common := "addr: " + first + "\npeers: [\"" + second + "\"]\nseederlist_file: one.db\nlog_file: one.log\n"
	if err := os.WriteFile(file, []byte(common+"log_format: json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := start(t, dir, "tracker", "--config", "one.yaml", "--ack", "self")
	if _, err := one.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	two := start(t, dir, "tracker", second, first, "two.db", "two.log")
	await(t, log, `"msg":"peer tracker connected"`)
	await(t, filepath.Join(dir, "two.log"), "peer tracker connected")

	hangup(t, one, file, common+"log_level: debug\nlog_levle: debug\n")
	await(t, log, `"msg":"settings not reloaded, all stay as they are"`)
	await(t, log, `"error":"one.yaml:6: log_levle: is unknown`)
	text, err := os.ReadFile(log)
	if err != nil || strings.Contains(string(text), `"DEBUG"`) || strings.Contains(string(text), `"settings reloaded"`) {
		t.Errorf("%v, or a file with a mistake was taken over:\n%s", err, text)
	}

	third := freeAddr(t)
	start(t, dir, "tracker", third, first, "three.db", "three.log")
	await(t, filepath.Join(dir, "three.log"), "tracker is up")
	changed := strings.Replace(common, "]", ", \""+third+"\"]", 1)
	hangup(t, one, file, changed+"log_level: debug\nlease: 1m\nack: peer\n")
	await(t, log, `"msg":"settings reloaded","file":"one.yaml","changed":["peers","log_level"]`)
	await(t, log, `"msg":"changed settings ignored until the next start","settings":["log_format","lease"]`)

	// It keeps in step with the new one, which was none of its own before.
	await(t, log, `"msg":"peer tracker connected","peer":"`+third+`"`)
	await(t, filepath.Join(dir, "three.log"), "peer tracker connected")

	// At its new level the log tells more.
	two.Kill()
	await(t, log, `"msg":"peer tracker stopped pulling"`)
	if err := one.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := one.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestHangupChangesTheLimitsOfAClient(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	common := "addr: " + freeAddr(t) + "\ntrackers: [\"" + freeAddr(t) + "\", \"" + freeAddr(t) + "\"]\nlog_file: c.log\nstate: state\n"
	if err := os.WriteFile(file, []byte(common+"upload_limit: 2MB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir, "client", "--config", "c.yaml")
	if _, err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	says := func(command, want string) {
		t.Helper()
		got, err := c.Ask(ctx, command)
		if want = "limit of all torrents together: " + want; err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", command, got, err, want)
		}
	}
	says("limit", "up 2.0 MB/s, down none")
	says("limit down 1MiB", "up 2.0 MB/s, down 1.0 MiB/s")
	hangup(t, c, file, common+"upload_limit: 20MB\n")
	await(t, filepath.Join(dir, "c.log"), `msg="settings reloaded"`)
	says("limit", "up 20 MB/s, down 1.0 MiB/s")
	if err := c.Type("quit"); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestHangupChangesHowManyDownloadsRun(t *testing.T) {
	ctx, dir := patient(t), t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	trackers := [2]string{freeAddr(t), freeAddr(t)}
	common := "addr: " + freeAddr(t) + "\ntrackers: [\"" + trackers[0] + "\", \"" + trackers[1] + "\"]\nlog_file: c.log\nstate: state\n"
	if err := os.WriteFile(file, []byte(common+"max_downloads: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir, "client", "--config", "c.yaml")
	if _, err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := torrentfmt.Create(ctx, path, trackers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := torrentfmt.WriteFile(path+".mtorrent", x); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ask(ctx, "get "+name+".mtorrent copy-"+name); err != nil {
			t.Fatal(err)
		}
	}
	queued := func(want int) {
		t.Helper()
		lines, err := c.AskLines(ctx, "show downloads", 2)
		if n := strings.Count(strings.Join(lines, "\n"), "(queued)"); err != nil || n != want {
			t.Errorf("%v, %q: want %d queued", err, lines, want)
		}
	}
	queued(1)
	hangup(t, c, file, common+"max_peers: 20\n")
	await(t, filepath.Join(dir, "c.log"), `changed="[max_peers max_downloads]"`)
	queued(0)
	if err := c.Type("quit"); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx); err != nil {
		t.Error(err)
	}
}
