package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// A key file is one PEM block (RFC 7468) of one of these types, which holds
// the 32 bytes of an ed25519 seed (RFC 8032, section 5.1.5), and nothing else.
const (
	nodeKey  = "MTOR NODE KEY"
	swarmKey = "MTOR SWARM KEY"
)

// maxKeyFile bounds what is read of a key file in bytes; one takes some 120.
const maxKeyFile = 1 << 10

var (
	// ErrReadable is why a key file is refused that others than its owner can
	// read or write. The message names the command that mends it.
	ErrReadable = errors.New("others than its owner can use this key file")
	// ErrDamaged is why a file is refused that holds no such key.
	ErrDamaged = errors.New("this is not the key file that is wanted")
)

func newSeed() []byte {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	return seed
}

// decodeSeed reads the text of a key file.
func decodeSeed(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	switch {
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrDamaged, maxKeyFile)
	case block == nil:
		return nil, fmt.Errorf("%w: want a PEM block %q", ErrDamaged, kind)
	case block.Type != kind:
		return nil, fmt.Errorf("%w: it holds a block %.40q, want %q", ErrDamaged, block.Type, kind)
	case len(block.Bytes) != ed25519.SeedSize:
		return nil, fmt.Errorf("%w: a key of %d bytes, want %d", ErrDamaged, len(block.Bytes), ed25519.SeedSize)
	case len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return nil, fmt.Errorf("%w: want one PEM block %q and nothing besides", ErrDamaged, kind)
	}
	return block.Bytes, nil
}

func encodeSeed(seed []byte, kind string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: seed})
}

// readSeed reads a key file that nobody but its owner can read.
func readSeed(path, kind string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w: it is no regular file", path, ErrDamaged)
	// On Windows a file's mode says nothing of who may read it.
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w (mode %04o): chmod 600 %s", ErrReadable, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	seed, err := decodeSeed(text, kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return seed, nil
}

// openSeed reads a key file, and makes it when it is missing.
func openSeed(path, kind string) ([]byte, error) {
	seed, err := readSeed(path, kind)
	if !errors.Is(err, fs.ErrNotExist) {
		return seed, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	seed = newSeed()
	err = createFile(path, encodeSeed(seed, kind))
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return readSeed(path, kind)
	}
	return seed, err
}

// createFile writes a file (0600) that appears whole or not at all, and never
// replaces another: then the error matches fs.ErrExist.
func createFile(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); err == nil {
			err = rerr
		}
	}()
	_, werr := f.Write(text)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return linkFailure(path, err)
	}
	return syncDir(dir)
}

// linkFailure is the cause without the name of the temporary file.
func linkFailure(path string, err error) error {
	var l *os.LinkError
	if errors.As(err, &l) {
		err = l.Err
	}
	return &fs.PathError{Op: "create", Path: path, Err: err}
}

// syncDir makes a new name in dir durable, where the system can.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be opened for that
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
