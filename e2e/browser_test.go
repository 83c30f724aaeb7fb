package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// screenshots is where the pictures of the pages go that docs/ shows:
//
//	go test ./e2e -run Page -screenshots docs
var screenshots = flag.String("screenshots", "", "folder, from the project's, to put pictures of the pages in")

// rebound is a name that somebody has made to resolve to this machine.
const rebound = "rebound.example"

// browser is a headless Chromium.
type browser struct {
	s   *swarm
	ctx context.Context

	mu  sync.Mutex
	ill []string // dialogs, errors, and what the policy has refused
}

// browser starts one. It reaches nothing but loopback addresses.
func (s *swarm) browser() *browser {
	s.Helper()
	exe := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			exe = found
			break
		}
	}
	if exe == "" {
		s.Skip("chromium is not installed")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(exe), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP "+rebound+" 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.*, EXCLUDE localhost"),
		chromedp.WSURLReadTimeout(patience),
	)
	ctx, end := chromedp.NewExecAllocator(context.WithoutCancel(s.ctx), options...)
	s.Cleanup(end)
	ctx, closeTab := chromedp.NewContext(ctx)
	s.Cleanup(func() {
		defer closeTab()
		if err := chromedp.Cancel(ctx); err != nil { // and waits for its processes
			s.Logf("close the browser: %v", err)
		}
	})
	b := &browser{s: s, ctx: ctx}
	chromedp.ListenTarget(ctx, b.hear)
	// The first run starts the browser, which lives as long as its context.
	if err := chromedp.Run(ctx, log.Enable(), runtime.Enable(), chromedp.EmulateViewport(1120, 760)); err != nil {
		s.Fatal(err)
	}
	return b
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		b.ill = append(b.ill, "a dialog: "+e.Message)
	case *runtime.EventExceptionThrown:
		b.ill = append(b.ill, "an exception: "+e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		if e.Entry.Source == log.SourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			b.ill = append(b.ill, e.Entry.Text)
		}
	}
}

// heard is what went wrong since it was last asked.
func (b *browser) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ill := b.ill
	b.ill = nil
	return ill
}

func (b *browser) run(actions ...chromedp.Action) {
	b.s.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.s.Fatal(err)
	}
}

// open goes to a page and returns the status.
func (b *browser) open(url string) int {
	b.s.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, chromedp.Navigate(url))
	if err != nil {
		b.s.Fatal(err)
	}
	return int(resp.Status)
}

// text is what the page shows where the selector says.
func (b *browser) text(selector string) string {
	b.s.Helper()
	return value[string](b, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector))
}

// until waits until an expression is true in the page, which may be loaded anew
// meanwhile.
func (b *browser) until(expression string) {
	b.s.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx := b.s.ctx; ; {
		var ok bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate("!!("+expression+")", &ok))
		if ok && err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.s.Fatalf("%s: never; %v", expression, err)
		}
	}
}

// value is that of an expression in the page.
func value[T any](b *browser, expression string) (v T) {
	b.s.Helper()
	b.run(chromedp.Evaluate(expression, &v))
	return v
}

// photogenic puts the files of a test whose pictures are asked for where they would
// be.
func (s *swarm) photogenic() {
	s.Helper()
	if *screenshots == "" {
		return
	}
	s.dir = "/srv/data"
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { os.RemoveAll(s.dir) })
}

// picture takes one for docs/, if they are asked for.
func (b *browser) picture(name string, features ...*emulation.MediaFeature) {
	b.s.Helper()
	if *screenshots == "" {
		return
	}
	var png []byte
	b.run(emulation.SetEmulatedMedia().WithFeatures(append(features, still)), chromedp.FullScreenshot(&png, 100), emulation.SetEmulatedMedia())
	path := filepath.Join("..", *screenshots, name+".png")
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.s.Fatal(err)
	}
}

var (
	dark  = &emulation.MediaFeature{Name: "prefers-color-scheme", Value: "dark"}
	still = &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"}
)

// said waits for a line of a process that begins with prefix, and returns the rest.
func (s *swarm) said(p *process.Process, prefix string) string {
	s.Helper()
	l, err := p.Line(s.ctx, 0, func(l process.Line) bool { return strings.HasPrefix(l.Text, prefix) })
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimPrefix(l.Text, prefix)
}

// refusesOtherHosts asks for a page by a name that is not this machine's own.
func (b *browser) refusesOtherHosts(addr string) {
	b.s.Helper()
	port := addr[strings.LastIndexByte(addr, ':'):]
	if status := b.open("http://" + rebound + port + "/"); status != http.StatusForbidden {
		b.s.Errorf("by the name %s: status %d", rebound, status)
	}
	if text := b.text("body"); !strings.Contains(text, "ask for") || strings.Contains(text, "mtor") {
		b.s.Errorf("by the name %s it shows %q", rebound, text)
	}
}

// wellBehaved reports what the browser had to refuse or complain of.
func (b *browser) wellBehaved() {
	b.s.Helper()
	if ill := b.heard(); len(ill) > 0 {
		b.s.Errorf("the browser says: %q", ill)
	}
}
