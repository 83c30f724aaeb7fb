package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/config"
)

func newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show, check and begin settings files",
		Long: `Works on the settings files of trackers and clients (--config). docs/configuration.md
tells of them.

` + exitHelp,
	}
	cmd.AddCommand(
		roleCmd("sample", "Print a settings file with everything in it, explained", `Prints a settings file that names every setting of the role, with its default or
an example. Save it, change it, and start the role with --config.`,
			func(_ *cobra.Command, _ roleFile, role string, out io.Writer) error {
				sample := config.TrackerSample
				if role == "client" {
					sample = config.ClientSample
				}
				_, err := out.Write(sample)
				return err
			}),
		withFile(roleCmd("print", "Print the settings that a role would run with", `Prints the settings that the role would have if it were started now without
arguments and flags, as a settings file. Behind each stands where it comes from:
the file and line, the environment variable, or the default. Secrets are not
shown. What the values say is not checked: "mtor config validate" does.`,
			func(_ *cobra.Command, f roleFile, _ string, out io.Writer) error { return f.show(out) })),
		withFile(roleCmd("validate", "Check a settings file", `Checks the settings that the role would have if it were started now without
arguments and flags: keys, types, values, and that the files that it names can
be there. Prints the first mistake, with its line, and ends with exit code 2.`,
			func(cmd *cobra.Command, f roleFile, role string, out io.Writer) error {
				if f.path == "" {
					return usageError(fmt.Errorf("%s: there is no settings file: give --config FILE (looked for %s)",
						cmd.CommandPath(), strings.Join(config.Places(role), ", ")))
				}
				if err := f.check(); err != nil {
					return newSettings().explain(err)
				}
				_, err := fmt.Fprintf(out, "%s: ok\n", f.path)
				return err
			})),
	)
	return cmd
}

// roleFile is a role's settings as they are without arguments.
type roleFile struct {
	path  string
	show  func(io.Writer) error
	check func() error
}

// roleCmd is a command that is about one role.
func roleCmd(name, short, long string, run func(*cobra.Command, roleFile, string, io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use:       name + " tracker|client",
		Short:     short,
		Long:      long + "\n\n" + exitHelp,
		ValidArgs: []string{"tracker", "client"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "tracker" && args[0] != "client" {
				return errors.New("want one argument, tracker or client")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var f roleFile
			if cmd.Flags().Lookup("config") != nil {
				var err error
				if f, err = readRoleFile(cmd, args[0]); err != nil {
					return err
				}
			}
			return run(cmd, f, args[0], cmd.OutOrStdout())
		},
	}
}

func withFile(cmd *cobra.Command) *cobra.Command {
	addConfigFlag(cmd.Flags())
	return cmd
}

func readRoleFile(cmd *cobra.Command, role string) (roleFile, error) {
	path, err := namedFile(cmd.Flags())
	if err != nil {
		return roleFile{}, err
	}
	if path == "" {
		path = config.Find(config.Places(role))
	}
	if role == "client" {
		return readAs(config.ClientDefaults(), path)
	}
	return readAs(config.TrackerDefaults(), path)
}

func readAs[T config.Settings](defaults T, path string) (roleFile, error) {
	l, err := config.Load(defaults, config.Sources{File: path})
	if err != nil {
		return roleFile{}, newSettings().explain(err)
	}
	return roleFile{path: path, show: l.Print, check: l.Check}, nil
}
