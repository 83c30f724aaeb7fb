package identity

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "node.key")
	first, err := OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}
	again, err := OpenKey(path)
	if err != nil || again.ID() != first.ID() {
		t.Errorf("opened again: %v, %v; want %v", again.ID(), err, first.ID())
	}
	if NewKey().ID() == first.ID() || first.ID().IsZero() || len(first.ID().String()) != 2*IDSize {
		t.Errorf("the ID is %v", first.ID())
	}
	wantOnly(t, filepath.Dir(path), "node.key")
}

func TestStartsAtOnceAgreeOnOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	var all sync.WaitGroup
	ids := make([]ID, 16)
	for i := range ids {
		all.Go(func() {
			k, err := OpenKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = k.ID()
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("different keys: %v", ids)
		}
	}
	wantOnly(t, filepath.Dir(path), "node.key")
}

func TestSwarmKeyFileIsNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swarm.key")
	if err := CreateSwarm(path); err != nil {
		t.Fatal(err)
	}
	was, _ := os.ReadFile(path)
	if err := CreateSwarm(path); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("made again: %v", err)
	}
	if is, _ := os.ReadFile(path); string(is) != string(was) {
		t.Error("the file has changed")
	}
	if _, err := OpenSwarm(path); err != nil {
		t.Error(err)
	}
	wantOnly(t, filepath.Dir(path), "swarm.key")
}

func TestKeyFileThatOthersCanUseIsRefusedWithTheMend(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file's mode says nothing on Windows")
	}
	path := filepath.Join(t.TempDir(), "swarm.key")
	if err := CreateSwarm(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o644, 0o604, 0o640, 0o602} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenSwarm(path)
		if !errors.Is(err, ErrReadable) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSwarm(path); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

func TestWrongKeyFilesAreRefusedAndLeftAlone(t *testing.T) {
	seed := newSeed()
	good := string(encodeSeed(seed, nodeKey))
	for name, text := range map[string]string{
		"empty":           "",
		"text":            "hello\n",
		"cut off":         good[:len(good)/2],
		"a swarm key":     string(encodeSeed(seed, swarmKey)),
		"too short a key": string(encodeSeed(seed[:31], nodeKey)),
		"two keys":        good + good,
		"text in front":   "a key:\n" + good,
		"headers":         string(pem.EncodeToMemory(&pem.Block{Type: nodeKey, Headers: map[string]string{"a": "b"}, Bytes: seed})),
		"long":            good + strings.Repeat("\n", maxKeyFile),
	} {
		path := filepath.Join(t.TempDir(), "node.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKey(path)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if is, _ := os.ReadFile(path); string(is) != text {
			t.Errorf("%s: the file has changed", name)
		}
	}
	if _, err := OpenKey(t.TempDir()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := OpenSwarm(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func wantOnly(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("in the folder: %v, %v; want %s alone", entries, err, name)
	}
}

func FuzzKeyFile(f *testing.F) {
	seed := make([]byte, ed25519.SeedSize)
	good := string(encodeSeed(seed, nodeKey))
	for _, s := range []string{
		good, string(encodeSeed(seed, swarmKey)), strings.ReplaceAll(good, "\n", "\r\n"), good + "\n", " " + good, good + good,
		"-----BEGIN MTOR NODE KEY-----\n-----END MTOR NODE KEY-----\n",
		"-----BEGIN MTOR NODE KEY-----\na: b\n\nAAAA\n-----END MTOR NODE KEY-----\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range []string{nodeKey, swarmKey} {
			seed, err := decodeSeed(text, kind)
			if err != nil {
				if !errors.Is(err, ErrDamaged) || len(err.Error()) > 300 {
					t.Fatalf("%v", err)
				}
				continue
			}
			again, err := decodeSeed(encodeSeed(seed, kind), kind)
			if err != nil || string(again) != string(seed) || len(seed) != ed25519.SeedSize {
				t.Fatalf("%q gives %x, which gives %x, %v", text, seed, again, err)
			}
		}
	})
}
