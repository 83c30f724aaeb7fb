package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker for a release: -X main.version=1.2.3 -X main.commit=<hash>.
// What is not set comes from what the Go command stamps into the binary.
var (
	version string
	commit  string
)

func newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version",
		Long:  "Prints one line: version, commit, Go version, system and architecture.\n\n" + exitHelp,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "mtor "+describeBuild(info))
			return err
		},
	}
}

// describeBuild says what this binary was made of. info may be nil.
func describeBuild(info *debug.BuildInfo) string {
	v, c := buildOf(info)
	return fmt.Sprintf("%s, commit %s, %s, %s/%s", v, c, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildVersion is this binary's version.
func buildVersion() string {
	info, _ := debug.ReadBuildInfo()
	v, _ := buildOf(info)
	return v
}

// buildOf is the version and the commit. info may be nil.
func buildOf(info *debug.BuildInfo) (v, c string) {
	v, c = version, commit
	if info != nil {
		if v == "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
		if c == "" {
			c = stampedCommit(info.Settings)
		}
	}
	if v == "" {
		v = "devel"
	}
	if c == "" {
		c = "unknown"
	}
	return v, c
}

func stampedCommit(settings []debug.BuildSetting) string {
	var revision, mark string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			mark = " (modified)"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + mark
}
