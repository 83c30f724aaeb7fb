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

// flagKeys are the keys of flags that are not named after them.
var flagKeys = map[string]string{"on-complete": "hooks.complete", "tcp-congestion": "tcp.congestion", "swarm-key": "swarm_key_file"}

// flags takes the flags that were typed: --log-level sets log_level, and
// --no-menu turns menu off.
func (s settings) flags(flags *pflag.FlagSet) {
	flags.Visit(func(f *pflag.Flag) {
		key := strings.ReplaceAll(f.Name, "-", "_")
		if other, ok := flagKeys[f.Name]; ok {
			key = other
		}
		value := any(f.Value.String())
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = list.GetSlice()
		}
		if rest, negated := strings.CutPrefix(key, "no_"); negated {
			key, value = rest, f.Value.String() != "true"
		}
		if key == "help" || key == "peer" || key == "config" { // peers are one list with an argument
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
	if e.File != "" {
		return usageError(err)
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

// positional demands all of names or, when the settings come from elsewhere,
// none.
func positional(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if n := len(args); n != len(names) && n != 0 {
			return wantArguments(names, n)
		}
		return nil
	}
}

func wantArguments(names []string, n int) error {
	return fmt.Errorf("want %d arguments, %s; got %d", len(names), strings.Join(names, " "), n)
}

// sources are where the settings of a role come from. A settings file at its
// usual place is read only if there are no arguments: these say by themselves
// what is wanted.
func (s settings) sources(cmd *cobra.Command, role string, names, args []string) (config.Sources, error) {
	file, err := namedFile(cmd.Flags())
	if err != nil {
		return config.Sources{}, err
	}
	if file == "" && len(args) == 0 {
		file = config.Find(config.Places(role))
		if file == "" && os.Getenv(config.EnvName("addr")) == "" && os.Getenv(config.EnvName("listen")) == "" {
			return config.Sources{}, usageError(fmt.Errorf("%s: %w, and there is no settings file (--config FILE; mtor config sample %s shows one)",
				cmd.CommandPath(), wantArguments(names, 0), role))
		}
	}
	return config.Sources{Given: s.given, File: file}, nil
}

// namedFile is the settings file that --config or the environment names, or
// empty.
func namedFile(flags *pflag.FlagSet) (string, error) {
	file, err := flags.GetString("config")
	if err != nil {
		return "", err
	}
	if flags.Changed("config") {
		if file == "" {
			return "", usageError(errors.New("--config: is empty: give a file's path"))
		}
		return file, nil
	}
	return os.Getenv(config.FileEnv), nil
}

// load reads a role's settings and checks them.
func load[T config.Settings](s settings, defaults T, from config.Sources) (*config.Loaded[T], error) {
	l, err := config.Load(defaults, from)
	if err == nil {
		err = l.Check()
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return l, nil
}

func addConfigFlag(flags *pflag.FlagSet) {
	flags.String("config", "", "settings file; mtor config sample shows one (default $XDG_CONFIG_HOME/mtor/<role>.yaml or /etc/mtor/<role>.yaml)")
}

// addCommonFlags are the flags that both roles have.
func addCommonFlags(flags *pflag.FlagSet) {
	addConfigFlag(flags)
	flags.String("listen", "", "ip:port to listen on, if it is not the one to be known by")
	flags.String("advertise", "", "ip:port to be known by, if it is not the one to listen on (containers, NAT)")
	flags.String("transport", config.TransportAuto, "what to dial over: auto, tcp, tls or quic; all are always listened on")
	flags.String("swarm-key", "", "file with the key of a private swarm: TLS and QUIC alone, and for its members alone")
	addMetricsFlags(flags)
	flags.String("log-format", config.LogText, "form of the log: text or json")
	flags.String("log-level", "info", "least level to log: debug, info, warn or error")
}
