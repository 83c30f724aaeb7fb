package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// envPrefix begins the name of every environment variable of mtor.
const envPrefix = "MTOR"

// EnvName is the environment variable of a key: MTOR_LOG_LEVEL of log_level.
func EnvName(key string) string {
	return envPrefix + "_" + strings.ToUpper(key)
}

// LoadTracker makes a tracker's settings and checks them. given is what the
// command line says, by key, and wins over the environment. Every error is an
// [*Error].
func LoadTracker(given map[string]any) (Tracker, error) {
	c := TrackerDefaults()
	if err := load(&c, given); err != nil {
		return Tracker{}, err
	}
	if err := c.Validate(); err != nil {
		return Tracker{}, err
	}
	return c, nil
}

// LoadClient makes a client's settings and checks them, as LoadTracker does.
func LoadClient(given map[string]any) (Client, error) {
	c := ClientDefaults()
	if err := load(&c, given); err != nil {
		return Client{}, err
	}
	if err := c.Validate(); err != nil {
		return Client{}, err
	}
	return c, nil
}

// load overlays the environment and given on the defaults in into.
func load(into any, given map[string]any) error {
	v := viper.NewWithOptions(viper.ExperimentalBindStruct())
	v.SetEnvPrefix(envPrefix)
	v.AutomaticEnv()
	for key, value := range given {
		v.Set(key, value)
	}
	if err := v.UnmarshalExact(into); err != nil {
		return decodeError(into, err)
	}
	return nil
}

// decodeError makes one line of the decoder's report: the first key that does
// not hold what its field takes.
func decodeError(into any, err error) *Error {
	var d *mapstructure.DecodeError
	if !errors.As(err, &d) || d.Name() == "" {
		return &Error{Key: "settings", Why: strings.Join(strings.Fields(err.Error()), " ")}
	}
	var why string
	switch fieldType(into, d.Name()) {
	case reflect.TypeFor[bool]():
		why = "want true or false"
	case reflect.TypeFor[time.Duration]():
		why = "want a duration such as 90s or 2m"
	default:
		why = strings.Join(strings.Fields(d.Unwrap().Error()), " ")
	}
	return &Error{Key: d.Name(), Why: why}
}

// fieldType is the type of the field with the given key, or nil.
func fieldType(into any, key string) reflect.Type {
	t := reflect.TypeOf(into).Elem()
	for f := range t.Fields() {
		if f.Tag.Get("mapstructure") == key {
			return f.Type
		}
	}
	return nil
}

// Error says which setting is wrong and how to mend it.
type Error struct {
	Key string // such as log_level, or trackers[0] for an entry of a list
	Why string // one line, with the mend
}

func (e *Error) Error() string { return e.Key + ": " + e.Why }

func errorf(key, format string, args ...any) error {
	return &Error{Key: key, Why: fmt.Sprintf(format, args...)}
}
