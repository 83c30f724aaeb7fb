package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRootCmd is the whole command tree. Its errors come back to main, which
// prints them; wrong usage is marked with exit code 2 everywhere.
func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "mtor",
		Short: "Share a big file once, get it from all who have it",
		Long: `mtor shares big files between machines. A tracker knows who has what; two of
them keep each other in step, and either may fail. A client shares files and
gets them, piece by piece, from all who have them.

` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newTrackerCmd(),
		newClientCmd(),
		newTorrentCmd(),
		newConfigCmd(),
		newKeygenCmd(),
		newDoctorCmd(),
		newDemoCmd(),
		newBenchCmd(),
		newManCmd(),
		newVersionCmd(),
	)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%s: %w (%s --help lists the flags)", cmd.CommandPath(), flagError(err), cmd.CommandPath()))
	})
	strictHelp(root)
	strictCompletion(root)
	markUsage(root)
	return root
}

// kinds are what values of flags are, by the names that pflag has for their types.
var kinds = map[string]string{
	"bool": "true or false", "int": "a whole number", "int64": "a whole number", "duration": "a time such as 30s, 5m or 1h",
}

// flagError is a mistake at a flag in words that name no function of a parser.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		if want := kinds[invalid.GetFlag().Value.Type()]; want != "" {
			return fmt.Errorf("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
		}
	}
	return err
}

// strictHelp makes "mtor help <no such command>" an error: cobra's own help
// command shows the root's help and succeeds.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil || help == root {
		return
	}
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		of, rest, err := root.Find(args)
		if err != nil {
			return usageError(fmt.Errorf("mtor help: %w", err))
		}
		if len(rest) > 0 && of.HasSubCommands() {
			return group(of, rest)
		}
		return of.Help()
	}
}

// strictCompletion makes "mtor completion <no such shell>" an error: cobra's own
// command shows its help and succeeds.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	all, _, err := root.Find([]string{"completion"})
	if err != nil || all == root {
		return
	}
	for _, shell := range all.Commands() {
		shell.Args = noArguments
	}
}

// anyNumber is for arguments that may be as many as one likes.
const anyNumber = math.MaxInt

// arguments is for commands that take so many; the error says which.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least || len(args) > most:
			return fmt.Errorf("want %s, got %s", operands(cmd.Use), count(len(args), "argument"))
		case slices.Contains(args, ""):
			return fmt.Errorf("want %s, and an argument is empty", operands(cmd.Use))
		}
		return nil
	}
}

// operands are the arguments in a command's use line, without its name and flags.
func operands(use string) string {
	words := strings.Fields(use)[1:]
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(strings.TrimPrefix(w, "["), "--") }); i >= 0 {
		words = words[:i]
	}
	return strings.Join(words, " ")
}

// noArguments is for commands that take none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("takes no arguments, got %q", args[0])
	}
	return nil
}

// maxTypos is how many letters may be wrong for a command to be suggested.
const maxTypos = 2

// markUsage makes wrong arguments wrong usage, in cmd and below, and gives each
// command that only groups others the same answer when none of them is named.
func markUsage(cmd *cobra.Command) {
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = group
	}
	if cmd.HasSubCommands() {
		cmd.SuggestionsMinimumDistance = maxTypos
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError(fmt.Errorf("%s: %w", cmd.CommandPath(), err))
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

// group is what a command does that needs a command after it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(cmd.Help(), &exitError{code: exitUsage})
	}
	return usageError(fmt.Errorf("%s: %w", cmd.CommandPath(), mistyped(cmd, args[0])))
}

// mistyped says of a word that it is none of cmd's commands, and which is near.
func mistyped(cmd *cobra.Command, word string) error {
	hint := fmt.Sprintf("%s --help lists the commands", cmd.CommandPath())
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return fmt.Errorf("unknown command %q: %s", word, hint)
}
