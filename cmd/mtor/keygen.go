package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/transport/identity"
)

func newKeygenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make the key of a private swarm",
		Long: `Makes keys. A node's own key is made by itself at its first start; the key of a
private swarm is made here, once. docs/security.md tells what keys are worth.

` + exitHelp,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "swarm FILE",
		Short: "Make the key of a private swarm",
		Long: `Writes a new swarm key to FILE, which only its owner can read (0600). Give it,
by a way that nobody else can read, to every tracker and client of the swarm
(--swarm-key FILE): they prove it to each other, and let nobody else in. A file
that is there already is never replaced.

` + exitHelp,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := identity.CreateSwarm(args[0])
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already, and a swarm key is never replaced: name another file", args[0])
			}
			if err != nil {
				return fmt.Errorf("keygen: %w", aboutKey(args[0], err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: give it to the swarm's trackers and clients (--swarm-key), and to nobody else\n", args[0])
			return err
		},
	})
	return cmd
}
