package socket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// The parts of an OpenAPI description that are looked at. Anything else in it is
// an error, so that nothing is said that is not held against the server.
type (
	apiDoc struct {
		OpenAPI    string
		Info       struct{ Title, Version, Summary, Description string }
		Servers    []struct{ URL, Description string }
		Paths      map[string]pathDoc
		Components struct {
			Parameters map[string]paramDoc
			Responses  map[string]responseDoc
			Schemas    map[string]*schema
		}
	}
	pathDoc struct {
		Parameters []struct {
			Ref string `yaml:"$ref"`
		}
		Get, Put, Post, Patch, Delete *opDoc
	}
	opDoc struct {
		OperationID string `yaml:"operationId"`
		Summary     string
		RequestBody *struct {
			Required bool
			Content  map[string]contentDoc
		} `yaml:"requestBody"`
		Responses map[string]responseDoc
	}
	paramDoc struct {
		Name, In, Description string
		Required              bool
		Schema                schema
	}
	responseDoc struct {
		Ref         string `yaml:"$ref"`
		Description string
		Content     map[string]contentDoc
	}
	contentDoc struct{ Schema schema }
	schema     struct {
		Ref         string `yaml:"$ref"`
		Type        string
		Description string
		Format      string
		Enum        []string
		Required    []string
		Properties  map[string]schema
		Items       *schema
		Extra       *schema `yaml:"additionalProperties"`
	}
)

func (p pathDoc) operations() map[string]*opDoc {
	all := map[string]*opDoc{"GET": p.Get, "PUT": p.Put, "POST": p.Post, "PATCH": p.Patch, "DELETE": p.Delete}
	maps.DeleteFunc(all, func(_ string, op *opDoc) bool { return op == nil })
	return all
}

func readDescription(t *testing.T) *apiDoc {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(Description))
	d.KnownFields(true)
	doc := new(apiDoc)
	if err := d.Decode(doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// resolve follows a reference to a schema and notes that it is used.
func (doc *apiDoc) resolve(t *testing.T, s *schema, used map[string]bool) *schema {
	t.Helper()
	if s.Ref == "" {
		return s
	}
	name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
	used[name] = true
	if doc.Components.Schemas[name] == nil {
		t.Fatalf("%s leads nowhere", s.Ref)
	}
	return doc.Components.Schemas[name]
}

func TestDescriptionAndServerHaveTheSameOperations(t *testing.T) {
	doc := readDescription(t)
	served := []string{"GET " + descriptionPattern}
	for _, e := range endpoints {
		served = append(served, e.method+" "+e.pattern)
	}
	var described []string
	for path, p := range doc.Paths {
		for method := range p.operations() {
			described = append(described, method+" "+path)
		}
		if want := strings.Contains(path, "{torrent}"); want != (len(p.Parameters) == 1) {
			t.Errorf("%s: its parameters are not those of its pattern", path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("served (-) and described (+):\n%s", diff)
	}
}

// Every field of every body, its form, and whether it is always there.
func TestDescriptionAndServerHaveTheSameFields(t *testing.T) {
	doc, used := readDescription(t), map[string]bool{}
	for _, e := range endpoints {
		name := e.method + " " + e.pattern
		op := doc.Paths[e.pattern].operations()[e.method]
		if op == nil {
			continue // told by another test
		}
		switch {
		case (op.RequestBody != nil) != (e.asks != nil):
			t.Errorf("%s: one of the two has a body of the request", name)
		case e.asks != nil:
			body := op.RequestBody.Content["application/json"].Schema
			doc.compare(t, name+", request", &body, reflect.TypeOf(e.asks), used)
		}
		kind := "application/json"
		if e.streams {
			kind = "application/x-ndjson"
		}
		content, ok := op.Responses[successOf(e)].Content[kind]
		switch {
		case ok != (e.answers != nil):
			t.Errorf("%s: one of the two has a body of the answer", name)
		case ok:
			doc.compare(t, name+", answer", &content.Schema, reflect.TypeOf(e.answers), used)
		}
	}
	for name, r := range doc.Components.Responses {
		content := r.Content["application/json"]
		doc.compare(t, "response "+name, &content.Schema, reflect.TypeFor[Refusal](), used)
	}
	for name := range doc.Components.Schemas {
		if !used[name] {
			t.Errorf("the schema %s is of nothing that is said", name)
		}
	}
}

func successOf(e endpoint) string {
	if e.answers == nil {
		return "204"
	}
	return "200"
}

func (doc *apiDoc) compare(t *testing.T, where string, s *schema, of reflect.Type, used map[string]bool) {
	t.Helper()
	s = doc.resolve(t, s, used)
	want := ""
	switch of.Kind() {
	case reflect.Pointer:
		doc.compare(t, where, s, of.Elem(), used)
		return
	case reflect.String:
		want = "string"
	case reflect.Bool:
		want = "boolean"
	case reflect.Int, reflect.Int64:
		want = "integer"
	case reflect.Float64:
		want = "number"
	case reflect.Slice:
		want = "array"
		if s.Items == nil {
			t.Fatalf("%s: an array of what?", where)
		}
		doc.compare(t, where+"[]", s.Items, of.Elem(), used)
	case reflect.Map:
		want = "object"
		if s.Extra == nil {
			t.Fatalf("%s: an object of what?", where)
		}
		doc.compare(t, where+"{}", s.Extra, of.Elem(), used)
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() {
			want = "string"
			break
		}
		want = "object"
		doc.compareFields(t, where, s, of, used)
	default:
		t.Fatalf("%s: %s", where, of)
	}
	if s.Type != want {
		t.Errorf("%s: described as %q, and is %q", where, s.Type, want)
	}
	if of == reflect.TypeFor[control.State]() {
		var states []string
		for _, state := range control.States {
			states = append(states, string(state))
		}
		if diff := cmp.Diff(states, s.Enum); diff != "" {
			t.Errorf("%s: states (-) and described (+):\n%s", where, diff)
		}
	}
}

func (doc *apiDoc) compareFields(t *testing.T, where string, s *schema, of reflect.Type, used map[string]bool) {
	t.Helper()
	var fields, always []string
	for f := range of.Fields() {
		key, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" {
			t.Errorf("%s: %s has no name", where, f.Name)
		}
		fields = append(fields, key)
		if option != "omitempty" {
			always = append(always, key)
		}
		if described, ok := s.Properties[key]; ok {
			doc.compare(t, where+"."+key, &described, f.Type, used)
		}
	}
	slices.Sort(fields)
	if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(s.Properties))); diff != "" {
		t.Errorf("%s: said (-) and described (+):\n%s", where, diff)
	}
	slices.Sort(always)
	required := slices.Sorted(slices.Values(s.Required))
	if len(always)+len(required) > 0 {
		if diff := cmp.Diff(always, required); diff != "" {
			t.Errorf("%s: always there (-) and required (+):\n%s", where, diff)
		}
	}
}

// What each operation answers to a request that succeeds, is malformed, names no
// torrent, or fails.
func TestDescriptionAndServerHaveTheSameStatuses(t *testing.T) {
	doc := readDescription(t)
	for _, e := range endpoints {
		t.Run(e.method+" "+e.pattern, func(t *testing.T) {
			op := doc.Paths[e.pattern].operations()[e.method]
			if op == nil {
				t.Skip("not described: told by another test")
			}
			seen := map[string]bool{}
			try := func(body string, err error) {
				api := newRecorder()
				api.err = err
				r := httptest.NewRequestWithContext(t.Context(), e.method, strings.ReplaceAll(e.pattern, "{torrent}", fullDownload.ID), strings.NewReader(body))
				w := httptest.NewRecorder()
				handler(api).ServeHTTP(w, r)
				status := strconv.Itoa(w.Code)
				seen[status] = true
				doc.holds(t, op, status, w)
			}
			try(bodyFor(t, e), nil)
			try(bodyFor(t, e), errors.New("it cannot be done"))
			if e.asks != nil {
				try(`{"nonsense": 1}`, nil)
			}
			if strings.Contains(e.pattern, "{torrent}") {
				try(bodyFor(t, e), fmt.Errorf("x %w", control.ErrUnknown))
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(op.Responses))); diff != "" {
				t.Errorf("answered (-) and described (+):\n%s", diff)
			}
		})
	}
}

// bodyFor is a request that is in order.
func bodyFor(t *testing.T, e endpoint) string {
	t.Helper()
	if e.asks == nil {
		return ""
	}
	body := map[string]any{}
	for f := range reflect.TypeOf(e.asks).Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		body[key] = 1 << 20
		if f.Type.Kind() == reflect.String {
			body[key] = "/srv/x.mtorrent"
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// holds checks an answer against what the description says of that status.
func (doc *apiDoc) holds(t *testing.T, op *opDoc, status string, w *httptest.ResponseRecorder) {
	t.Helper()
	r := op.Responses[status]
	if r.Ref != "" {
		r = doc.Components.Responses[strings.TrimPrefix(r.Ref, "#/components/responses/")]
	}
	kind := w.Header().Get("Content-Type")
	content, ok := r.Content[kind]
	if !ok && (kind != "" || len(r.Content) > 0) {
		t.Errorf("%s: an answer of type %q is not described", status, kind)
	}
	if !ok {
		return
	}
	d := json.NewDecoder(w.Body)
	for d.More() {
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		doc.fits(t, status, &content.Schema, v)
	}
}

func (doc *apiDoc) fits(t *testing.T, where string, s *schema, v any) {
	t.Helper()
	s = doc.resolve(t, s, map[string]bool{})
	switch v := v.(type) {
	case map[string]any:
		for _, key := range s.Required {
			if _, ok := v[key]; !ok {
				t.Errorf("%s: %s is required, and missing", where, key)
			}
		}
		for key, x := range v {
			p, ok := s.Properties[key]
			switch {
			case ok:
				doc.fits(t, where+"."+key, &p, x)
			case s.Extra != nil:
				doc.fits(t, where+"."+key, s.Extra, x)
			default:
				t.Errorf("%s: %s is not described", where, key)
			}
		}
	case []any:
		for _, x := range v {
			doc.fits(t, where+"[]", s.Items, x)
		}
	case string:
		if s.Type != "string" || len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
			t.Errorf("%s: %q is not described", where, v)
		}
	case float64:
		if s.Type != "number" && s.Type != "integer" {
			t.Errorf("%s: a number is not described", where)
		}
	case bool:
		if s.Type != "boolean" {
			t.Errorf("%s: a boolean is not described", where)
		}
	default:
		t.Errorf("%s: %v is not described", where, v)
	}
}

func TestDescriptionIsServedAsItIs(t *testing.T) {
	w := httptest.NewRecorder()
	handler(newRecorder()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, descriptionPattern, http.NoBody))
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), Description) || w.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("%d, %s, %d bytes", w.Code, w.Header().Get("Content-Type"), w.Body.Len())
	}
}

func TestWhatIsNoOperationIsRefusedInTheSameForm(t *testing.T) {
	for request, status := range map[string]int{
		"GET /":            http.StatusNotFound,
		"GET /v1/nothing":  http.StatusNotFound,
		"POST /v1/status":  http.StatusMethodNotAllowed,
		"GET /v1/quit":     http.StatusMethodNotAllowed,
		"DELETE /v1/share": http.StatusMethodNotAllowed,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		handler(newRecorder()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
		var r Refusal
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != status || r.Code != codeBadRequest {
			t.Errorf("%s: %d %q (%v), want %d", request, w.Code, w.Body, err, status)
		}
		if status == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" {
			t.Errorf("%s: it does not say what is allowed", request)
		}
	}
}
