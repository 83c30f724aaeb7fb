package carry

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// makeFile writes a file of random bytes and returns the digests of its pieces.
func makeFile(path string, size int64) (digests []byte, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	noise := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, torrentfmt.PieceSize)
	for at := int64(0); at < size; at += int64(len(buf)) {
		_, _ = noise.Read(buf) // never fails
		d := sha1.Sum(buf)
		digests = append(digests, d[:]...)
		if _, err := f.Write(buf); err != nil {
			return nil, err
		}
	}
	return digests, nil
}

// sink is where pieces go: each is checked against its digest and written.
type sink struct {
	file    *os.File
	digests []byte
}

func (k *sink) pieces() int { return len(k.digests) / sha1.Size }

// put checks and writes piece i.
func (k *sink) put(i int, piece []byte) error {
	d := sha1.Sum(piece)
	if !bytes.Equal(d[:], k.digests[i*sha1.Size:][:sha1.Size]) {
		return fmt.Errorf("piece %d: %w", i, errDigest)
	}
	_, err := k.file.WriteAt(piece, int64(i)*torrentfmt.PieceSize)
	return err
}

// touch writes the file once, so that no later round pays for its pages.
func (k *sink) touch() error {
	zeros := make([]byte, torrentfmt.PieceSize)
	for i := range k.pieces() {
		if _, err := k.file.WriteAt(zeros, int64(i)*torrentfmt.PieceSize); err != nil {
			return err
		}
	}
	return nil
}

// piece is one that has arrived and is to be put.
type piece struct {
	index int
	bytes []byte
}

// drain puts what arrives until the channel is closed, with several
// goroutines of g, and gives every buffer back.
func (k *sink) drain(g *errgroup.Group, arrived <-chan piece, back func([]byte)) {
	for range workers() {
		g.Go(func() error {
			var failed error
			for p := range arrived { // to the end: those who fill it must not hang
				if failed == nil {
					failed = k.put(p.index, p.bytes)
				}
				back(p.bytes)
			}
			return failed
		})
	}
}
