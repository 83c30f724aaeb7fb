package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mtor-dev/mtor/config"
)

func TestFlagsAreSettingsAndTheirHelpTellsTheDefault(t *testing.T) {
	flagsMean(t, newTrackerCmd(), config.TrackerDefaults())
	flagsMean(t, newClientCmd(), config.ClientDefaults())
}

// flagsMean types each flag with the default that its help tells: this must change
// nothing. A flag that is no setting is refused.
func flagsMean[T config.Settings](t *testing.T, cmd *cobra.Command, defaults T) {
	t.Helper()
	n := 0
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, list := f.Value.(pflag.SliceValue); f.Name == "config" || f.Name == "help" || list {
			return
		}
		n++
		if err := cmd.Flags().Set(f.Name, f.DefValue); err != nil {
			t.Fatal(err)
		}
	})
	s := newSettings()
	s.flags(cmd.Flags())
	if len(s.given) != n {
		t.Errorf("%s: %d flags are %d settings: %v", cmd.Name(), n, len(s.given), s.given)
	}
	l, err := config.Load(defaults, config.Sources{Given: s.given})
	if err != nil {
		t.Fatalf("%s: %v", cmd.Name(), err)
	}
	if diff := cmp.Diff(defaults, l.Settings, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: defaults in the help differ (-settings +flags):\n%s", cmd.Name(), diff)
	}
}
