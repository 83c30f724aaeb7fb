package page

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
)

const (
	// maxForm bounds the form with the token, in bytes.
	maxForm = 4 << 10
	// MinToken is the least length of a token in bytes: one that was drawn at random
	// is not found by trying then.
	MinToken = 16
	// stay is how long a browser is remembered; no longer than the process lives.
	stay = 12 * time.Hour
)

// policy is the Content-Security-Policy: what the page may load and run is its
// own, and nobody may show it within another.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard decides who may look.
type guard struct {
	loopback bool
	hosts    map[string]bool // names that the machine goes by
	token    string
	cookie   string // name; the port is in it, since cookies are of a host's every port
	session  string // what the cookie of one who has shown the token holds
	origins  *http.CrossOriginProtection
}

func newGuard(addr net.Addr, token string) *guard {
	g := &guard{
		token: token,
		hosts: map[string]bool{"localhost": true}, session: NewToken(),
		origins: http.NewCrossOriginProtection(),
	}
	g.loopback = Loopback(addr)
	g.cookie = "mtor-" + addr.String()[strings.LastIndexByte(addr.String(), ':')+1:]
	if name, err := os.Hostname(); err == nil && !g.loopback {
		g.hosts[strings.ToLower(name)] = true
	}
	return g
}

// Loopback reports whether only this machine reaches a bound address.
func Loopback(addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().IsLoopback()
}

// NewToken draws a token.
func NewToken() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// wrap keeps out what comes by another name, which somebody may have made to
// resolve to this address, and tells browsers to be strict.
func (g *guard) wrap(next http.Handler) http.Handler {
	next = g.origins.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !g.named(r.Host) {
			http.Error(w, "ask for this machine by its IP address: the Host header is none of its own names", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// named reports whether a Host header names this machine as only those do who mean
// it: by an IP address, or by a name of its own.
func (g *guard) named(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return g.hosts[strings.ToLower(host)]
	}
	return ip.IsLoopback() || !g.loopback
}

// known lets those through who have shown the token; the others are asked for it.
func (g *guard) known(next, ask http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.token == "" || g.has(r) {
			next.ServeHTTP(w, r)
			return
		}
		ask.ServeHTTP(w, r)
	})
}

func (g *guard) has(r *http.Request) bool {
	if c, err := r.Cookie(g.cookie); err == nil && equal(c.Value, g.session) {
		return true
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && equal(bearer, g.token)
}

// admit remembers the browser of one who shows the token.
func (g *guard) admit(w http.ResponseWriter, token string) bool {
	if g.token == "" || !equal(token, g.token) {
		return false
	}
	http.SetCookie(w, &http.Cookie{
		Name: g.cookie, Value: g.session, Path: "/", MaxAge: int(stay / time.Second),
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	return true
}

// equal compares in a time that tells nothing of where two texts differ.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
