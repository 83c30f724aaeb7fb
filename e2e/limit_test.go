package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestALimitIsKeptOverEachTransport measures in the one direction that a noisy
// machine cannot spoil: what is limited is never faster than its limit. That it
// is hardly slower is shown in virtual time.
func TestALimitIsKeptOverEachTransport(t *testing.T) {
	const limit, size = 4 << 20, 24 * pieceSize // 3 s
	for _, c := range []struct{ name, transport, sharer, downloader string }{
		{"upload", "tcp", "limit up 4MiB", ""},
		{"upload", "quic", "limit x.mtorrent up 4MiB", ""},
		{"download", "tcp", "", "limit down 4MiB"},
		{"download", "quic", "", "limit down 4MiB"},
	} {
		t.Run(c.name+" "+c.transport, func(t *testing.T) {
			transport := c.transport
			t.Parallel()
			s := newSwarm(t)
			s.write("data", size, 1)
			sharer := s.client(10, "sharer", "--transport", transport)
			sharer.do("share data x.mtorrent")
			if c.sharer != "" {
				sharer.do(c.sharer)
			}
			began := time.Now()
			var downloaders []*client
			for i := range 2 {
				d := s.client(20+i, fmt.Sprintf("downloader-%d", i), "--transport", transport)
				if c.downloader != "" {
					d.do(c.downloader)
				}
				d.do(fmt.Sprintf("get x.mtorrent copy-%d", i))
				downloaders = append(downloaders, d)
			}
			for i, d := range downloaders {
				d.do("wait")
				s.same("data", fmt.Sprintf("copy-%d", i))
			}
			// A burst of 100 ms may come first, and what is sent last is not
			// waited for.
			if took, least := time.Since(began), (size-limit/5)*time.Second/limit; took < least {
				t.Errorf("%d bytes came in %s: at %d a second they take %s at least", size, took, limit, least)
			}
		})
	}
}

func TestDownloadsBeyondTheLimitWaitAndStartInOrder(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	sharer := s.client(10, "sharer")
	names := []string{"a", "b", "c", "d"}
	for i, name := range names {
		s.write(name, 3*pieceSize, byte(i))
		sharer.do(fmt.Sprintf("share %s %s.mtorrent", name, name))
	}
	sharer.do("limit up 100kB") // until all have been asked for
	shown := s.reserve(s.ip(20))
	d := s.client(20, "downloader", "--max-downloads", "1", "--metrics", shown)
	for _, name := range names {
		d.do(fmt.Sprintf("get %s.mtorrent copy-%s", name, name))
	}
	lines, err := d.AskLines(s.ctx, "show downloads", len(names))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines {
		if queued := strings.HasSuffix(line, " (queued)"); queued != (i > 0) || !strings.HasPrefix(line, "[D] ") {
			t.Errorf("show downloads says %q", line)
		}
	}
	s.allList(s.id("b.mtorrent"), whole(sharer)...)
	for _, want := range []string{`{state="downloading"} 1`, `{state="queued"} 3`} {
		if text := s.get("http://" + shown + "/metrics"); !strings.Contains(text, "\nmtor_client_downloads"+want+"\n") {
			t.Errorf("not %s of\n%s", want, text)
		}
	}

	// One that waits is removed; after a restart the others wait as before.
	d.do("remove c.mtorrent")
	if s.exists("copy-c.part") {
		t.Error("a .part in which nothing is stays")
	}
	d.quit()
	d.start()
	sharer.do("limit up none")
	d.do("wait")
	for _, name := range []string{"a", "b", "d"} {
		s.same(name, "copy-"+name)
		s.allList(s.id(name+".mtorrent"), whole(sharer, d)...)
	}
	log := string(s.text("downloader.log"))
	last := -1
	for _, name := range []string{"a", "b", "d"} {
		at := strings.Index(log, `msg="download complete" name=`+name+" ")
		if at < last {
			t.Errorf("%s was complete before its turn:\n%s", name, log)
		}
		last = at
	}
}
