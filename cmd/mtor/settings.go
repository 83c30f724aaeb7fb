package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mtor-dev/mtor/config"
)

// settings is what the command line says, by the keys of package config, and
// how the user knows each key.
type settings struct {
	given map[string]any
	names map[string]string // key, or key[i] -> "<my_ip:port>", "--lease"
}

func newSettings() settings {
	return settings{given: map[string]any{}, names: map[string]string{}}
}

// argument takes one positional argument.
func (s settings) argument(key, name, value string) {
	s.given[key], s.names[key] = value, name
}

// arguments takes positional arguments that are one list.
func (s settings) arguments(key string, names, values []string) {
	s.given[key], s.names[key] = values, strings.Join(names, " ")
	for i, name := range names {
		s.names[fmt.Sprintf("%s[%d]", key, i)] = name
	}
}

// flags takes the flags that were typed: --log-level sets log_level, and
// --no-menu turns menu off.
func (s settings) flags(flags *pflag.FlagSet) {
	flags.Visit(func(f *pflag.Flag) {
		key := strings.ReplaceAll(f.Name, "-", "_")
		value := any(f.Value.String())
		if rest, negated := strings.CutPrefix(key, "no_"); negated {
			key, value = rest, f.Value.String() != "true"
		}
		if key == "help" || key == "peer" { // peers are one list with an argument
			return
		}
		s.given[key], s.names[key] = value, "--"+f.Name
	})
}

// explain is a config error in the words of who typed it: the argument, flag or
// environment variable, and the mend.
func (s settings) explain(err error) error {
	var e *config.Error
	if !errors.As(err, &e) {
		return err
	}
	name, ok := s.names[e.Key]
	if !ok {
		key, index, _ := strings.Cut(e.Key, "[")
		if name = config.EnvName(key); index != "" {
			name += "[" + index
		}
	}
	return usageError(fmt.Errorf("%s: %s", name, e.Why))
}

// positional demands all of names or, when the environment has the settings,
// none.
func positional(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		n := len(args)
		if n == len(names) || n == 0 && os.Getenv(config.EnvName("addr")) != "" {
			return nil
		}
		return fmt.Errorf("want %d arguments, %s; got %d", len(names), strings.Join(names, " "), n)
	}
}

// addCommonFlags are the flags that both roles have.
func addCommonFlags(flags *pflag.FlagSet) {
	flags.String("transport", config.TransportAuto, "what to dial over: auto, tcp or quic; both are always listened on")
	flags.String("log-level", "info", "least level to log: debug, info, warn or error")
}
