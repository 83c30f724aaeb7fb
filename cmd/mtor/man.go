package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newManCmd is for those who make packages, and hidden from all others.
func newManCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "man FOLDER",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Long: `Writes a man page for every command into FOLDER, which must exist. Their date is
$SOURCE_DATE_EPOCH, if that is set, and the present day otherwise.

` + exitHelp,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := os.Stat(args[0])
			if err == nil && !info.IsDir() {
				err = fmt.Errorf("%s is not a folder", args[0])
			}
			if err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			literal(root)
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "mtor", Manual: "mtor"}, args[0])
		},
	}
}

// literal keeps what stands in angle brackets from being taken for HTML: the
// generator reads the help texts as Markdown. The command is of no other use
// afterwards.
func literal(cmd *cobra.Command) {
	asIs := strings.NewReplacer("<", `\<`, "*", `\*`)
	cmd.Use, cmd.Long = asIs.Replace(cmd.Use), asIs.Replace(cmd.Long)
	for _, sub := range cmd.Commands() {
		literal(sub)
	}
}
