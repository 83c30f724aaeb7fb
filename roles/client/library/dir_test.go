package library

import (
	"path/filepath"
	"testing"
)

func TestDirNamesOneFolderPerClientAddress(t *testing.T) {
	state, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("XDG_STATE_HOME", state)
	for addr, want := range map[string]string{
		"127.0.0.2:7001":     "127.0.0.2_7001",
		"0.0.0.0:80":         "0.0.0.0_80",
		"[::1]:7001":         "--1_7001",
		"[2001:db8:0::1]:80": "2001-db8--1_80",
	} {
		got, err := Dir(addr)
		if err != nil || got != filepath.Join(state, "mtor", want) {
			t.Errorf("Dir(%s) = %s, %v", addr, got, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.1", "host:80", "", "127.0.0.1:99999", "[::1%../../x]:1"} {
		if got, err := Dir(addr); err == nil {
			t.Errorf("Dir(%s) = %s, want an error", addr, got)
		}
	}
	for _, unset := range []string{"", "relative"} {
		t.Setenv("XDG_STATE_HOME", unset)
		got, err := Dir("127.0.0.2:7001")
		if want := filepath.Join(home, ".local", "state", "mtor", "127.0.0.2_7001"); err != nil || got != want {
			t.Errorf("with XDG_STATE_HOME %q: Dir = %s, %v", unset, got, err)
		}
	}
}
