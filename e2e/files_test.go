package e2e

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// pieceSize is what the format promises, written down anew.
const pieceSize = 512 << 10

// bigSize is the size of files that tests interrupt in the middle, in bytes:
// long enough on the way to be caught there.
const bigSize = 192 << 20

// sizes are the borders of the format.
var sizes = []int64{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize}

// write makes a file of size bytes that repeat nowhere; another seed gives
// others.
func (s *swarm) write(name string, size int64, seed byte) {
	s.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.Fatal(err)
	}
	f, err := os.Create(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	_, err = io.Copy(f, io.LimitReader(rand.NewChaCha8([32]byte{seed}), size))
	if err := errors.Join(err, f.Close()); err != nil {
		s.Fatal(err)
	}
}

// same compares two files byte by byte.
func (s *swarm) same(original, other string) {
	s.Helper()
	a, b := s.open(original), s.open(other)
	defer a.Close()
	defer b.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; at += int64(len(x)) {
		n, errX := io.ReadFull(a, x)
		m, errY := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			s.Fatalf("%s differs from %s after byte %d", other, original, at)
		}
		if errX != nil || errY != nil {
			if !ended(errX) || !ended(errY) {
				s.Fatal(errX, errY)
			}
			return
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// open opens a file of the test, or any by its absolute path.
func (s *swarm) open(name string) *os.File {
	s.Helper()
	if !filepath.IsAbs(name) {
		name = s.path(name)
	}
	f, err := os.Open(name)
	if err != nil {
		s.Fatal(err)
	}
	return f
}

func (s *swarm) exists(name string) bool {
	s.Helper()
	_, err := os.Lstat(s.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
	return err == nil
}

// mtorrentFile is the format as the README describes it.
type mtorrentFile struct {
	Version    int    `json:"mtorrent"`
	Tracker1   string `json:"tracker_url_1"`
	Tracker2   string `json:"tracker_url_2"`
	Filename   string `json:"filename"`
	Filesize   int64  `json:"filesize"`
	HashString string `json:"hash_string"`
	Files      []struct {
		Path       string `json:"path"`
		Size       int64  `json:"size"`
		Executable bool   `json:"executable"`
	} `json:"files"`
}

func (s *swarm) readMtorrent(name string) mtorrentFile {
	s.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	var m mtorrentFile
	if err := json.Unmarshal(text, &m); err != nil {
		s.Fatalf("%s: %v", name, err)
	}
	return m
}

// id is the torrent ID of a .mtorrent, worked out without mtor's own code.
func (s *swarm) id(mtorrent string) torrentfmt.ID {
	s.Helper()
	m := s.readMtorrent(mtorrent)
	raw, err := hex.DecodeString(m.HashString)
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range m.Files {
		mode := map[bool]string{true: "x", false: "-"}[f.Executable]
		raw = fmt.Appendf(raw, "%d %s %s\n", f.Size, mode, f.Path)
	}
	return sha1.Sum(raw)
}

// toolchainFile is something large that a machine which can run these tests
// has: the Go compiler.
func toolchainFile(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "-n", "compile").Output()
	if err != nil {
		t.Fatalf("find the compiler: %v", err)
	}
	path := strings.TrimSpace(string(out))
	if info, err := os.Stat(path); err != nil || info.Size() < 4<<20 {
		t.Fatalf("the compiler at %s is no large file: %v", path, err)
	}
	return path
}
