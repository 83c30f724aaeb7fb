package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// hostileName is a filename that is a script where it is not written as text.
const hostileName = `"><img src=x onerror=hacked=1><script>hacked=1`

func TestTheTrackersPageShowsWhatItListsAndHowItStandsWithTheOther(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	b := s.browser()
	for _, tr := range s.trackers {
		tr.args = append(tr.args, "--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0")
		tr.start()
	}
	addr := s.said(s.trackers[0].Process, "metrics on ")
	name := "data"
	if runtime.GOOS != "windows" {
		name = hostileName
	}
	s.write(name, 3*pieceSize, 1)
	for i, file := range []string{"ubuntu-24.04-server.iso", "llama-70b.safetensors", "genomes-2026.tar"} {
		s.write(file, int64(i+1)*pieceSize, byte(i))
	}
	c := s.client(10, "sharer")
	for i, file := range []string{name, "ubuntu-24.04-server.iso", "llama-70b.safetensors", "genomes-2026.tar"} {
		c.do(fmt.Sprintf("share '%s' %d.mtorrent", file, i))
	}

	if status := b.open("http://" + addr + "/"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	b.until(`document.querySelectorAll("main bdi.name").length === 4`)
	b.until(`document.querySelector(".state").textContent === "both ways"`)
	b.showsAsText(name)
	b.wellBehaved()

	// The other one dies: the page says so by itself.
	s.trackers[1].Kill()
	b.until(`document.querySelector(".state").textContent === "down"`)
	s.trackers[1].start()
	b.until(`document.querySelector(".state").textContent === "both ways"`)
	c.do("remove 0.mtorrent")
	b.until(`document.querySelectorAll("main bdi.name").length === 4 && document.body.textContent.includes("0 ")`)
	b.picture("page-tracker", dark)

	// The same at the address of mtor tracker status.
	if status := b.open("http://" + s.trackers[0].admin() + "/"); status != http.StatusOK || !strings.Contains(b.text("h1"), "tracker") {
		t.Errorf("at the admin address: status %d, %q", status, b.text("h1"))
	}
	b.wellBehaved()
	b.refusesOtherHosts(addr)
	b.refusesOtherHosts(s.trackers[0].admin())
}

func TestThePageAsksForTheTokenWhereOthersReachIt(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	b := s.browser()
	tr := s.trackers[0]
	tr.args = append(tr.args, "--metrics", "0.0.0.0:0")
	tr.start()
	_, port, _ := strings.Cut(s.said(tr.Process, "metrics on "), "0.0.0.0:")
	if port == "" {
		_, port, _ = strings.Cut(s.said(tr.Process, "metrics on "), "[::]:")
	}
	url := "http://127.0.0.1:" + port + "/"
	_, token, _ := strings.Cut(s.said(tr.Process, "page on "), "asks for the token ")
	if len(token) != 32 {
		t.Fatalf("the token is %q", token)
	}

	if status := b.open(url); status != http.StatusUnauthorized {
		t.Errorf("without the token: status %d", status)
	}
	if text := b.text("body"); strings.Contains(text, "seeders") || !strings.Contains(text, "Token") {
		t.Errorf("without the token it shows %q", text)
	}
	enter := func(token string) {
		b.run(chromedp.SendKeys("#token", token, chromedp.ByQuery))
		value[bool](b, `document.querySelector("form").requestSubmit(), true`)
	}
	enter("not the token")
	b.until(`document.querySelector(".bad")`)
	if text := b.text(".bad"); text != "That is not the token." {
		t.Errorf("with a wrong one: %q", text)
	}
	enter(token)
	b.until(`document.querySelector(".tiles")`)
	b.until(`document.getElementById("live").className === "on"`)
	if cookies := value[string](b, `document.cookie`); cookies != "" {
		t.Errorf("a script sees the cookie: %q", cookies)
	}
	if status := b.open(url); status != http.StatusOK {
		t.Errorf("once it was shown: status %d", status)
	}
	// What Prometheus asks for needs none.
	if status := b.open(url + "metrics"); status != http.StatusOK {
		t.Errorf("/metrics: status %d", status)
	}
	b.refusesOtherHosts("127.0.0.1:" + port)
}

func TestThePageNeedsNoScriptAndRunsNoneButItsOwn(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	b := s.browser()
	tr := s.trackers[0]
	tr.args = append(tr.args, "--metrics", "127.0.0.1:0")
	tr.start()
	url := "http://" + s.said(tr.Process, "metrics on ") + "/"

	b.open(url)
	value[bool](b, `(() => { const s = document.createElement("script"); s.textContent = "window.hacked = 1"; document.body.append(s); return true })()`)
	if value[bool](b, `"hacked" in window`) {
		t.Error("a script that is not the page's own has run")
	}
	if ill := b.heard(); len(ill) == 0 {
		t.Error("the browser did not say that it had refused a script")
	}

	b.run(emulation.SetScriptExecutionDisabled(true))
	b.open(url)
	if text := b.text("main"); !strings.Contains(text, "Nothing is shared yet.") {
		t.Errorf("without scripts: %q", text)
	}
	s.write("data", pieceSize, 1)
	s.client(10, "sharer").do("share data x.mtorrent")
	b.until(`document.querySelector("bdi.name")`) // by the browser's own means
}

func TestTheClientsPageShowsADownloadThatMoves(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	s.photogenic()
	b := s.browser()
	for _, tr := range s.trackers {
		tr.start()
	}
	name := "data"
	if runtime.GOOS != "windows" {
		name = hostileName
	}
	const size = 48 * pieceSize
	s.write(name, 3*pieceSize, 1)
	s.write("ubuntu-24.04-server.iso", size, 2)
	s.write("llama-70b.safetensors", size/2, 3)
	var sharers []*client
	for i, transport := range []string{"tcp", "quic"} {
		c := s.client(10+i, fmt.Sprintf("sharer-%d", i), "--upload-limit", "2MiB", "--transport", transport)
		c.do("share ubuntu-24.04-server.iso ubuntu.mtorrent")
		c.do("share llama-70b.safetensors llama.mtorrent")
		sharers = append(sharers, c)
	}
	c := s.client(20, "watched", "--metrics", "127.0.0.1:0")
	addr := s.said(c.Process, "metrics on ")
	if status := b.open("http://" + addr + "/"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if text := b.text("main"); !strings.Contains(text, "Nothing is shared or fetched yet.") || !strings.Contains(text, c.addr) {
		t.Errorf("before anything is there: %q", text)
	}

	// From here on the page keeps up by itself.
	c.do("share '" + name + "' named.mtorrent")
	c.do("get ubuntu.mtorrent copy.iso")
	c.do("get llama.mtorrent copy.safetensors")
	row := func(class string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("tbody.%s")].find(e => e.textContent.includes("ubuntu"))`, class)
	}
	b.until(row("downloading"))
	b.until(row("downloading") + `.querySelectorAll("details tbody tr").length === 2`)
	value[bool](b, row("downloading")+`.querySelector("details").open = true`)
	moved := `(() => { const p = ` + row("downloading") + `?.querySelector("progress"); return p ? p.value : -1 })()`
	at := value[float64](b, moved)
	for step := range 3 { // it is seen to grow, again and again
		b.until(fmt.Sprintf("%s > %f", moved, at))
		if next := value[float64](b, moved); next >= size {
			t.Fatalf("whole after %d steps: too fast to be seen moving", step)
		} else {
			at = next
		}
	}
	b.until(row("downloading") + `.querySelector("td[data-of=down]").textContent.includes("/s")`)
	if over := value[string](b, row("downloading")+`.querySelector("details").innerText`); !regexp.MustCompile(`[0-9]+ pieces? over (tcp|tls|quic)\b`).MatchString(over) || !regexp.MustCompile(`(?m):[0-9]+\s+(tcp|tls|quic)\b`).MatchString(over) {
		t.Errorf("the transports are missing: %q", over)
	}
	if !value[bool](b, row("downloading")+`.querySelector("details").open`) {
		t.Error("a row that the reader has opened was closed")
	}
	b.run(chromedp.EmulateViewport(1120, 640))
	b.picture("page-client")

	b.showsAsText(name)
	for _, sharer := range sharers {
		sharer.do("limit up none")
	}
	b.until(row("seeding") + `?.querySelector(".percent").textContent === "100 %"`)
	c.do("wait")
	b.wellBehaved()
	b.run(chromedp.EmulateViewport(400, 800))
	if wide := value[bool](b, `document.documentElement.scrollWidth > innerWidth`); wide {
		t.Error("on a narrow screen the page is wider than that")
	}

	c.Kill()
	b.until(`document.getElementById("live").className === "off"`)
	s.ends(c.Process)
	c.start()
	b.refusesOtherHosts(s.said(c.Process, "metrics on "))
}

// showsAsText holds that a torrent's filename is on the page, as nothing but text.
func (b *browser) showsAsText(name string) {
	b.s.Helper()
	names := value[[]string](b, `[...document.querySelectorAll("bdi.name")].map(e => e.textContent)`)
	if !slices.Contains(names, name) {
		b.s.Errorf("it shows %q: want %q among them", names, name)
	}
	if hacked := value[bool](b, `typeof hacked !== "undefined" || document.querySelector("main script, main img") !== null`); hacked {
		b.s.Error("a filename has become a part of the page")
	}
}
