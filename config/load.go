package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// envPrefix begins the name of every environment variable of mtor.
const envPrefix = "MTOR"

// envNames makes the rest of such a name: hooks.complete is HOOKS_COMPLETE.
var envNames = strings.NewReplacer(".", "_")

// EnvName is the environment variable of a key: MTOR_LOG_LEVEL of log_level.
func EnvName(key string) string {
	return envPrefix + "_" + strings.ToUpper(envNames.Replace(key))
}

// Settings are what a role can be set to: [Tracker] or [Client].
type Settings interface {
	// Validate checks what can be checked without touching the disk or the
	// network. It returns the first error, an [*Error].
	Validate() error
	// CheckFiles looks at the disk: a file to write must not be a folder, and
	// its folder must exist, so that a mistyped path is told from a new file.
	// The error is an [*Error].
	CheckFiles() error
}

// Sources are where settings come from, besides the environment.
type Sources struct {
	// Given is what the command line says, by key. It wins over the
	// environment, which wins over the file.
	Given map[string]any
	// File is the path of a settings file; empty for none.
	File string
}

// Loaded is settings, and where each of them comes from.
type Loaded[T Settings] struct {
	Settings T
	origins  origins
}

// Load overlays the sources on the defaults. Keys and types are right then; what
// the values say is for [Loaded.Check]. Every error is an [*Error].
func Load[T Settings](defaults T, s Sources) (*Loaded[T], error) {
	l := &Loaded[T]{Settings: defaults, origins: origins{given: s.Given}}
	v := viper.NewWithOptions(viper.ExperimentalBindStruct(), viper.EnvKeyReplacer(envNames))
	v.SetEnvPrefix(envPrefix)
	v.AutomaticEnv()
	if s.File != "" {
		f, err := readFile(s.File, reflect.TypeFor[T]())
		if err != nil {
			return nil, err
		}
		l.origins.file = f
		v.SetConfigType("yaml")
		if err := v.ReadConfig(bytes.NewReader(f.data)); err != nil {
			return nil, f.broken(err)
		}
	}
	for key, value := range s.Given {
		v.Set(key, value)
	}
	hook := mapstructure.ComposeDecodeHookFunc(
		mapstructure.StringToTimeDurationHookFunc(),
		mapstructure.TextUnmarshallerHookFunc(),
		mapstructure.StringToSliceHookFunc(","),
	)
	if err := v.UnmarshalExact(&l.Settings, viper.DecodeHook(hook)); err != nil {
		return nil, l.origins.locate(decodeError(reflect.TypeFor[T](), err))
	}
	return l, nil
}

// Check is Validate and CheckFiles, with the line of the settings file in the
// error where the value stands in one.
func (l *Loaded[T]) Check() error {
	err := l.Settings.Validate()
	if err == nil {
		err = l.Settings.CheckFiles()
	}
	return l.origins.locate(err)
}

// origins knows where the value of each key comes from.
type origins struct {
	given map[string]any
	file  *file // nil: none
}

// of is the source of a key, for people.
func (o *origins) of(key string) string {
	if _, ok := o.given[key]; ok {
		return "command line"
	}
	if os.Getenv(EnvName(key)) != "" {
		return EnvName(key)
	}
	if o.file != nil {
		if line := o.file.lines[key]; line > 0 {
			return fmt.Sprintf("%s:%d", o.file.path, line)
		}
	}
	return "default"
}

// locate adds the file to an error about a value that it holds, or lacks; and the
// line, where there is one.
func (o *origins) locate(err error) error {
	var e *Error
	if o.file == nil || !errors.As(err, &e) || e.File != "" {
		return err
	}
	whole, _, _ := strings.Cut(e.Key, "[")
	if _, ok := o.given[whole]; ok || os.Getenv(EnvName(whole)) != "" {
		return err
	}
	at := *e
	at.File = o.file.path
	if at.Line = o.file.lines[e.Key]; at.Line == 0 {
		at.Line = o.file.lines[whole]
	}
	return &at
}

// decodeError makes one line of the decoder's report: the first key that does
// not hold what its field takes.
func decodeError(t reflect.Type, err error) *Error {
	var d *mapstructure.DecodeError
	if !errors.As(err, &d) || d.Name() == "" {
		return &Error{Key: "settings", Why: oneLine(err)}
	}
	why := oneLine(d.Unwrap())
	if f, ok := fieldOf(t, d.Name()); ok {
		if want := wanted(f.Type); want != "" {
			why = want
		}
	}
	return &Error{Key: d.Name(), Why: why}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// wanted says what a value of type t looks like; empty where the type's own
// parser says it.
func wanted(t reflect.Type) string {
	switch {
	case isText(t):
		return ""
	case t == reflect.TypeFor[time.Duration]():
		return "want a duration such as 90s or 2m"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "want true or false"
	case reflect.String:
		return `want text: put it in quotes`
	case reflect.Slice:
		return `want a list, such as ["one", "two"]`
	case reflect.Struct:
		return "want keys below it, each with a value"
	case reflect.Float32, reflect.Float64:
		return "want a number"
	}
	return "want a whole number"
}

// isText reports whether a value of type t parses its own text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// Error says which setting is wrong and how to mend it.
type Error struct {
	Key  string // such as log_level, or trackers[0] for an entry of a list; empty for the file as a whole
	Why  string // one line, with the mend
	File string // the settings file that holds the value; empty if none does
	Line int    // in File, from 1; 0 if it cannot be told
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	return b.String() + e.Why
}

func errorf(key, format string, args ...any) error {
	return &Error{Key: key, Why: fmt.Sprintf(format, args...)}
}
