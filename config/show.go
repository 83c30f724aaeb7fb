package config

import (
	_ "embed"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The samples name every setting, with its default or an example.
var (
	//go:embed tracker.yaml
	TrackerSample []byte
	//go:embed client.yaml
	ClientSample []byte
)

// redacted stands for a secret.
const redacted = "(not shown)"

// Print writes the settings as a settings file, each line with where its value
// comes from. Secrets are not shown.
func (l *Loaded[T]) Print(w io.Writer) error {
	top, err := l.mapping(reflect.ValueOf(l.Settings), "")
	if err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(top); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return enc.Close()
}

func (l *Loaded[T]) mapping(v reflect.Value, prefix string) (*yaml.Node, error) {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for f, value := range v.Fields() {
		name := f.Tag.Get("mapstructure")
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
		var n *yaml.Node
		var err error
		if nested(f.Type) {
			n, err = l.mapping(value, prefix+name+".")
		} else if n, err = node(setting{f, value}); err == nil {
			n.LineComment = "# " + l.origins.of(prefix+name)
		}
		if err != nil {
			return nil, fmt.Errorf("print %s%s: %w", prefix, name, err)
		}
		m.Content = append(m.Content, key, n)
	}
	return m, nil
}

// node is a setting's value in YAML, on one line.
func node(s setting) (*yaml.Node, error) {
	value := s.value.Interface()
	if d, ok := value.(time.Duration); ok {
		value = shortDuration(d)
	}
	if s.is("secret") && !s.value.IsZero() {
		value = redacted
	}
	n := new(yaml.Node)
	if err := n.Encode(value); err != nil {
		return nil, err
	}
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	return n, nil
}

// shortDuration writes 2m where Duration.String writes 2m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
