package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a settings file in bytes: a thousand times what one has, and
// little enough to be read whole when the path is that of something else.
const maxFile = 1 << 20

// file is a settings file whose keys and types are right.
type file struct {
	path  string
	data  []byte
	lines map[string]int // key, or key[i] for an entry of a list -> line
}

// readFile reads a settings file and holds it against the fields of t. Every
// error is an [*Error].
func readFile(path string, t reflect.Type) (*file, error) {
	f := &file{path: path}
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{File: path, Why: "there is no such file"}
	}
	if err != nil {
		return nil, f.broken(err)
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.IsDir() {
		return nil, &Error{File: path, Why: "is a folder: want a file's path"}
	}
	if f.data, err = io.ReadAll(io.LimitReader(in, maxFile+1)); err != nil {
		return nil, f.broken(err)
	}
	if len(f.data) > maxFile {
		return nil, &Error{File: path, Why: fmt.Sprintf("is larger than %d bytes, as no settings file is", maxFile)}
	}
	if err := f.check(t); err != nil {
		return nil, err
	}
	return f, nil
}

// check holds the file's text against the fields of t.
func (f *file) check(t reflect.Type) error {
	f.lines = map[string]int{}
	docs := yaml.NewDecoder(bytes.NewReader(f.data))
	var doc, second yaml.Node
	switch err := docs.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil
	case err != nil:
		return f.broken(err)
	}
	switch err := docs.Decode(&second); {
	case err == nil:
		return f.wrong(&second, "", "a second document begins here: want one")
	case !errors.Is(err, io.EOF):
		return f.broken(err)
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return nil
	}
	return f.group(top, t, "")
}

// group holds a mapping against the fields of t.
func (f *file) group(n *yaml.Node, t reflect.Type, prefix string) error {
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		return f.wrong(n, strings.TrimSuffix(prefix, "."), `want lines of the form "key: value"`)
	}
	given := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.ShortTag() != "!!str" || name.Anchor != "" {
			return f.wrong(name, prefix+name.Value, "a key must be plain text")
		}
		key := prefix + name.Value
		if line, twice := given[key]; twice {
			return f.wrong(name, key, fmt.Sprintf("is given twice: line %d has it too", line))
		}
		given[key] = name.Line
		field, known := fieldOf(t, name.Value)
		if !known || strings.Contains(name.Value, ".") {
			why := "is no setting of this role"
			if is := near(t, name.Value); is != "" {
				why = fmt.Sprintf("is unknown: did you mean %s?", prefix+is)
			}
			return f.wrong(name, key, why)
		}
		f.lines[key] = name.Line
		if err := f.value(value, field.Type, key); err != nil {
			return err
		}
	}
	return nil
}

// value holds a value against a type.
func (f *file) value(n *yaml.Node, t reflect.Type, key string) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return f.wrong(n, key, "anchors and aliases are not taken: write the value out")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return f.wrong(n, key, "has no value: give one, or leave the key out")
	case nested(t):
		return f.group(n, t, key+".")
	case isText(t):
		return f.text(n, t, key)
	case t.Kind() == reflect.Slice:
		return f.list(n, t, key)
	case !scalar(n, t):
		return f.wrong(n, key, wanted(t))
	}
	return nil
}

func (f *file) text(n *yaml.Node, t reflect.Type, key string) error {
	if n.Kind != yaml.ScalarNode {
		return f.wrong(n, key, "want one value")
	}
	v, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if !ok {
		return f.wrong(n, key, "cannot be set in a file")
	}
	if err := v.UnmarshalText([]byte(n.Value)); err != nil {
		return f.wrong(n, key, oneLine(err))
	}
	return nil
}

func (f *file) list(n *yaml.Node, t reflect.Type, key string) error {
	if n.Kind != yaml.SequenceNode {
		return f.wrong(n, key, wanted(t))
	}
	for i, entry := range n.Content {
		item := fmt.Sprintf("%s[%d]", key, i)
		f.lines[item] = entry.Line
		if err := f.value(entry, t.Elem(), item); err != nil {
			return err
		}
	}
	return nil
}

// scalar reports whether n is one value of type t.
func scalar(n *yaml.Node, t reflect.Type) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	if t == reflect.TypeFor[time.Duration]() {
		_, err := time.ParseDuration(n.Value)
		return err == nil
	}
	var tag string
	switch t.Kind() {
	case reflect.String:
		tag = "!!str"
	case reflect.Bool:
		tag = "!!bool"
	case reflect.Float32, reflect.Float64:
		tag = "!!float"
	default:
		tag = "!!int"
	}
	if have := n.ShortTag(); have != tag && (tag != "!!float" || have != "!!int") {
		return false
	}
	return n.Decode(reflect.New(t).Interface()) == nil // which also knows what overflows
}

func (f *file) wrong(n *yaml.Node, key, why string) *Error {
	return &Error{Key: key, Why: why, File: f.path, Line: n.Line}
}

// yamlLine is how the YAML library says where.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// broken is an error of reading the file, or of YAML's syntax.
func (f *file) broken(err error) *Error {
	e := &Error{File: f.path}
	why := oneLine(err)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		why = oneLine(pe.Err)
	}
	if m := yamlLine.FindStringSubmatch(why); m != nil {
		near := ""
		if m[1] != "" { // the library is one line off now and then
			near = ", near line " + m[1]
		}
		why = "this is not YAML" + near + ": " + why[len(m[0]):] + ` (text that begins with a bracket goes in quotes: "[::1]:7000"; lines are indented by spaces, not tabs)`
	}
	e.Why = why
	return e
}
