package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandHasAManPageThatSaysWhatItsHelpSays(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := t.TempDir()
	root := newRootCmd()
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(page), `"Nov 2023"`) {
			t.Errorf("%s: not of the day that was asked for", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(newRootCmd())
	page, err := os.ReadFile(filepath.Join(dir, "mtor-client.1"))
	for _, text := range []string{"mtor client " + strings.Join(clientArgs, " ") + " [flags]", "error: <what> : <why>"} {
		if err != nil || !strings.Contains(string(page), text) {
			t.Errorf("%q is lost: %v", text, err)
		}
	}
}

func TestManPagesNeedAFolder(t *testing.T) {
	for _, where := range []string{"man.go", "missing"} {
		root := newRootCmd()
		root.SetArgs([]string{"man", where})
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), where) {
			t.Errorf("%s: %v", where, err)
		}
	}
}
