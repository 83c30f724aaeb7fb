// Package page owns what the pages of both roles have in common: who may look at
// them, what a browser may do with them, how they look, and how they keep up with
// what they show.
//
// A page is one template of a role, rendered anew for each request. It works
// without its script, which only fetches the page every second and takes over what
// has changed. Nothing comes from elsewhere, and nothing can be changed by it.
package page

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"time"
)

//go:embed layout.html style.css page.js
var assets embed.FS

// Options of a page.
type Options struct {
	// Role is client or tracker.
	Role string
	// Addr is where the page is served, which tells who may reach it.
	Addr net.Addr
	// Token has to be shown by who looks, unless it is empty.
	Token string
	// Main is the text of a template (html/template) that shows what Data
	// returns; it has the functions of [Funcs].
	Main string
	// Data is what there is to see now. An error is shown in its place.
	Data func(context.Context) (any, error)
}

// New makes the handler of "/" and of what the page needs below it. The text of
// the template is the program's own: one that is wrong panics.
func New(o Options) http.Handler {
	p := &page{Options: o, guard: newGuard(o.Addr, o.Token)}
	layout := template.New("layout").Funcs(Funcs())
	p.layout = template.Must(template.Must(layout.ParseFS(assets, "layout.html")).New("main").Parse(o.Main))
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", p.guard.known(http.HandlerFunc(p.show), http.HandlerFunc(p.ask)))
	mux.HandleFunc("POST /{$}", p.enter)
	mux.HandleFunc("GET /style.css", asset("text/css"))
	mux.HandleFunc("GET /page.js", asset("text/javascript"))
	return p.guard.wrap(mux)
}

type page struct {
	Options
	guard  *guard
	layout *template.Template
}

// frame is what the layout shows.
type frame struct {
	Role  string
	Error string // instead of Data
	Ask   bool   // for the token, instead of Data
	Data  any
	At    time.Time
}

func (p *page) show(w http.ResponseWriter, r *http.Request) {
	f := frame{Role: p.Role, At: time.Now()}
	status := http.StatusOK
	data, err := p.Data(r.Context())
	if err != nil {
		f.Error, status = err.Error(), http.StatusServiceUnavailable
	}
	f.Data = data
	p.write(w, status, f)
}

// ask shows the form for the token.
func (p *page) ask(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="mtor"`)
	p.write(w, http.StatusUnauthorized, frame{Role: p.Role, Ask: true, At: time.Now()})
}

// enter takes a token from the form.
func (p *page) enter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if p.guard.admit(w, r.PostFormValue("token")) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	p.write(w, http.StatusForbidden, frame{Role: p.Role, Ask: true, Error: "That is not the token.", At: time.Now()})
}

func (p *page) write(w http.ResponseWriter, status int, f frame) {
	var b bytes.Buffer
	if err := p.layout.ExecuteTemplate(&b, "layout.html", f); err != nil {
		http.Error(w, fmt.Sprintf("the page cannot be made: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who asked may be gone
}

// asset serves the embedded file of the request's path.
func asset(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := assets.ReadFile(r.URL.Path[1:])
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind+"; charset=utf-8")
		_, _ = w.Write(b) // who asked may be gone
	}
}
