package page

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	here    = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9200}
	outside = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9200}
)

const token = "0123456789abcdef"

// hostile is what a stranger may call a file.
const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(2)>` + "\u202egnp.exe\x00"

func served(at net.Addr, token string, err error) http.Handler {
	return New(Options{
		Role: "tracker", Addr: at, Token: token, Main: `<b title="{{.}}">{{seen .}}</b>`,
		Data: func(context.Context) (any, error) { return hostile, err },
	})
}

// asks makes a request as a browser that stands at host does; change may change it.
func asks(h http.Handler, method, path, host string, body io.Reader, change ...func(*http.Request)) answer {
	r := httptest.NewRequest(method, path, body)
	r.Host = host
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w}
}

type answer struct{ *httptest.ResponseRecorder }

func (a answer) cookies() []*http.Cookie {
	return (&http.Response{Header: a.Header()}).Cookies()
}

func TestOnlyAHostThatMeansThisMachineIsAnswered(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   net.Addr
		host string
		ok   bool
	}{
		{here, "127.0.0.1:9200", true},
		{here, "localhost:9200", true},
		{here, "LOCALHOST", true},
		{here, "[::1]:9200", true},
		{here, "[::1]", true},
		{here, "10.0.0.1:9200", false},
		{here, "rebound.example:9200", false},
		{here, "localhost.rebound.example", false},
		{here, "127.0.0.1.rebound.example", false},
		{here, "", false},
		{outside, "10.0.0.1:9200", true},
		{outside, "192.0.2.7", true}, // behind a forwarder
		{outside, name + ":9200", true},
		{outside, "rebound.example:9200", false},
	} {
		for _, path := range []string{"/", "/style.css", "/page.js", "/nothing"} {
			r := asks(served(c.at, "", nil), "GET", path, c.host, nil)
			if refused := r.Code == http.StatusForbidden; refused == c.ok {
				t.Errorf("%v asked as %q for %v: %v", c.at, c.host, path, r.Code)
			}
			if body := r.Body.String(); !c.ok && strings.Contains(body, "alert") {
				t.Errorf("%q sees the page: %s", c.host, body)
			}
		}
	}
}

func TestWhatAStrangerWroteIsShownAsText(t *testing.T) {
	r := asks(served(here, "", nil), "GET", "/", "127.0.0.1", nil)
	body := r.Body.String()
	if r.Code != http.StatusOK || strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") {
		t.Errorf("%v: %v", r.Code, body)
	}
	if want := `&lt;script&gt;alert(1)&lt;/script&gt;&#34;&gt;&lt;img src=x onerror=alert(2)&gt;\u202egnp.exe\x00</b>`; !strings.Contains(body, want) {
		t.Errorf("it does not show %s:\n%s", want, body)
	}
}

func TestABrowserMayLoadNothingButWhatIsThePagesOwn(t *testing.T) {
	inline := regexp.MustCompile(`(?i) style=| on[a-z]+=["']|<style|<script>|javascript:|https?://`)
	for _, path := range []string{"/", "/style.css", "/page.js", "/nothing"} {
		r := asks(served(here, "", nil), "GET", path, "localhost", nil)
		h := r.Header()
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
		if body := r.Body.String(); path == "/" && inline.MatchString(strings.ReplaceAll(body, "onerror=alert(2)", "")) {
			t.Errorf("it needs what the policy forbids: %s", body)
		}
	}
}

func TestWhereOthersReachThePageItAsksForTheToken(t *testing.T) {
	h := served(outside, token, nil)
	const host = "10.0.0.1:9200"
	closed := func(what string, status int, change ...func(*http.Request)) {
		t.Helper()
		r := asks(h, "GET", "/", host, nil, change...)
		if body := r.Body.String(); r.Code != status || strings.Contains(body, "alert") || !strings.Contains(body, `name="token"`) {
			t.Errorf("%v: %v, %v", what, r.Code, body)
		}
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	cookie := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
	}
	closed("without it", http.StatusUnauthorized)
	closed("with a wrong one", http.StatusUnauthorized, bearer(token+"0"))
	closed("with none", http.StatusUnauthorized, bearer(""))
	closed("with it as cookie", http.StatusUnauthorized, cookie("mtor-9200", token))

	give := func(value string, change ...func(*http.Request)) answer {
		form := url.Values{"token": {value}}.Encode()
		return asks(h, "POST", "/", host, strings.NewReader(form), append(change, func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		})...)
	}
	for _, wrong := range []string{"", "0123456789abcde", strings.Repeat("x", 2*maxForm)} {
		if r := give(wrong); r.Code != http.StatusForbidden || len(r.cookies()) != 0 {
			t.Errorf("%q: %d, %v", wrong, r.Code, r.cookies())
		}
	}
	// Another site must not sign anybody in.
	if r := give(token, func(r *http.Request) { r.Header.Set("Origin", "http://elsewhere.example") }); r.Code != http.StatusForbidden || len(r.cookies()) != 0 {
		t.Errorf("from another site: %v", r.Code)
	}
	r := give(token)
	if r.Code != http.StatusSeeOther || len(r.cookies()) != 1 {
		t.Fatalf("the right one: %d, %v", r.Code, r.cookies())
	}
	c := r.cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || strings.Contains(c.Value, token) {
		t.Errorf("cookie %v", c)
	}
	for what, change := range map[string]func(*http.Request){"cookie": cookie(c.Name, c.Value), "bearer": bearer(token)} {
		if r := asks(h, "GET", "/", host, nil, change); r.Code != http.StatusOK || !strings.Contains(r.Body.String(), "alert") {
			t.Errorf("with the %v: %v", what, r.Code)
		}
	}
	// A cookie is of one run.
	if r := asks(served(outside, token, nil), "GET", "/", host, nil, cookie(c.Name, c.Value)); r.Code != http.StatusUnauthorized {
		t.Errorf("in the next run: %v", r.Code)
	}
}

func TestWhatCannotBeToldIsSaid(t *testing.T) {
	r := asks(served(here, "", errors.New("the <library> is closed")), "GET", "/", "localhost", nil)
	if body := r.Body.String(); r.Code != http.StatusServiceUnavailable || !strings.Contains(body, "the &lt;library&gt; is closed") {
		t.Errorf("%v: %v", r.Code, body)
	}
}

func TestThePageCannotBeWrittenTo(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		if r := asks(served(here, "", nil), method, "/", "localhost", nil); r.Code != http.StatusMethodNotAllowed {
			t.Errorf("%v: %v", method, r.Code)
		}
	}
}

func TestSpansHaveTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 250 * time.Second: "4 min 10 s",
		2*time.Hour + 3*time.Second: "2 h", 26*time.Hour + 5*time.Minute: "1 d 2 h",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func FuzzSeen(f *testing.F) {
	for _, s := range []string{"plain", "grün 文件", hostile, "\xff", "a\u200bb\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Seen(s)
		if Seen(got) != got {
			t.Errorf("%q becomes %q, which hides something yet", s, got)
		}
	})
}
