package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mtor-dev/mtor/roles/client/storage/disktest"
	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestDiskThatCannotHoldTheFileSaysSoBeforeTheDownload(t *testing.T) {
	dir := t.TempDir()
	var disk unix.Statfs_t
	must(t, unix.Statfs(dir, &disk))
	tor := &torrentfmt.Torrent{Name: "file", Size: torrentfmt.MaxPieces * torrentfmt.PieceSize}
	if int64(disk.Bfree)*disk.Bsize >= tor.Size {
		t.Skip("this disk has room for the largest torrent there is")
	}
	tor.Hashes = make([]byte, torrentfmt.MaxPieces*torrentfmt.HashSize)
	path := filepath.Join(dir, "file")
	_, _, err := Create(t.Context(), tor, path, nil)
	if !IsDiskFull(err) || !strings.Contains(err.Error(), PartPath(path)) {
		t.Fatalf("Create: %v", err)
	}
	wantAbsent(t, PartPath(path))
}

func TestFullDiskStopsAWriteAndFreedSpaceLetsItGoOn(t *testing.T) {
	dir := disktest.Mount(t, "3m")
	if dir == "" {
		return
	}
	data, tor := content(2*torrentfmt.PieceSize, 1)
	path, ballast := filepath.Join(dir, "file"), filepath.Join(dir, "ballast")
	// A .part without blocks, as on a file system that cannot allocate ahead.
	write(t, PartPath(path), nil)
	must(t, os.Truncate(PartPath(path), tor.Size))
	info, err := os.Stat(PartPath(path))
	must(t, err)
	mark := markOf(info)
	f := resume(t, tor, path, allOf(2).ClearAll(), &mark, nil)
	write(t, ballast, make([]byte, 3<<20-torrentfmt.PieceSize-100_000))
	must(t, f.WritePiece(0, pieceOf(tor, data, 0)))
	if err := f.WritePiece(1, pieceOf(tor, data, 1)); !IsDiskFull(err) {
		t.Fatalf("WritePiece on a full disk: %v", err)
	}
	wantPieces(t, f, 0)
	wantErr(t, f.Finish(), ErrIncomplete)
	must(t, os.Remove(ballast))
	must(t, f.WritePiece(1, pieceOf(tor, data, 1)))
	must(t, f.Finish())
	wantContent(t, path, data)
}

func TestTakingUpAPartOnAFullDiskKeepsIt(t *testing.T) {
	dir := disktest.Mount(t, "3m")
	if dir == "" {
		return
	}
	data, tor := content(3*torrentfmt.PieceSize, 1)
	path := filepath.Join(dir, "file")
	write(t, PartPath(path), data[:torrentfmt.PieceSize])
	write(t, filepath.Join(dir, "ballast"), make([]byte, 2<<20))
	_, _, err := Create(t.Context(), tor, path, nil)
	if !IsDiskFull(err) {
		t.Fatalf("Create: %v", err)
	}
	wantContent(t, PartPath(path), data[:torrentfmt.PieceSize])
	f := resume(t, tor, path, nil, nil, nil)
	wantPieces(t, f, 0)
	wantSection(t, f, 0, pieceOf(tor, data, 0))
	var full *FullError
	if err := f.Short(); !errors.As(err, &full) || full.Path != PartPath(path) || full.Lacks <= 0 {
		t.Fatalf("Short: %v", err)
	}
	if err := f.Reserve(t.Context()); !errors.As(err, &full) {
		t.Fatalf("Reserve: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "ballast")))
	must(t, f.Reserve(t.Context()))
	must(t, f.Close())
	wantPieces(t, create(t, tor, path), 0)
}

func TestPreallocationReservesBlocksThatReadAsHoles(t *testing.T) {
	dir := disktest.Mount(t, "3m")
	if dir == "" {
		return
	}
	data, tor := content(3*torrentfmt.PieceSize, 1)
	f := create(t, tor, filepath.Join(dir, "file"))
	var disk unix.Statfs_t
	must(t, unix.Statfs(dir, &disk))
	if used := int64(disk.Blocks-disk.Bfree) * disk.Bsize; used < tor.Size {
		t.Fatalf("%d bytes used, want %d reserved", used, tor.Size)
	}
	must(t, f.WritePiece(1, pieceOf(tor, data, 1)))
	r := &partReader{body: f.body}
	for i, want := range []bool{true, false, true} {
		if got := f.body.hole(int64(i)*torrentfmt.PieceSize, torrentfmt.PieceSize); got != want {
			t.Errorf("piece %d: hole %v, want %v", i, got, want)
		}
		n, _ := r.ReadAt(make([]byte, torrentfmt.PieceSize), int64(i)*torrentfmt.PieceSize)
		if (n == 0) != want {
			t.Errorf("piece %d: read %d bytes", i, n)
		}
	}
	if !r.touched.Load() {
		t.Error("data went unnoticed")
	}
	path := filepath.Join(dir, "file")
	must(t, f.Close())
	wantPieces(t, resume(t, tor, path, nil, nil, nil), 1)
}

func TestReadOnlyFileSystemIsRefusedAtOnce(t *testing.T) {
	dir := disktest.Mount(t, "3m")
	if dir == "" {
		return
	}
	disktest.ReadOnly(t, dir)
	_, tor := content(1, 1)
	_, _, err := Create(t.Context(), tor, filepath.Join(dir, "file"), nil)
	wantErr(t, err, unix.EROFS)
}
