package storage

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

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

// inSmallDisk names, in the child, the folder on which to mount a disk.
const inSmallDisk = "MTOR_TEST_SMALL_DISK"

// onSmallDisk runs the calling test once more in a process that has a disk of
// 3 MiB all to itself, in mount and user namespaces of its own, and returns
// that disk's folder there. In the first process it returns "".
func onSmallDisk(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(inSmallDisk); dir != "" {
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"))
		return dir
	}
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inSmallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWUSER,
		Unshareflags: syscall.CLONE_NEWNS,
		UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("this system gives no namespace: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return ""
}

func TestFullDiskStopsAWriteAndFreedSpaceLetsItGoOn(t *testing.T) {
	dir := onSmallDisk(t)
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
	dir := onSmallDisk(t)
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
	_, err = Resume(t.Context(), tor, path, nil, nil, nil)
	if !IsDiskFull(err) {
		t.Fatalf("Resume: %v", err)
	}
	wantContent(t, PartPath(path), data[:torrentfmt.PieceSize])
	must(t, os.Remove(filepath.Join(dir, "ballast")))
	f := create(t, tor, path)
	wantPieces(t, f, 0)
}

func TestPreallocationReservesBlocksThatReadAsHoles(t *testing.T) {
	dir := onSmallDisk(t)
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
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, tor := content(1, 1)
	_, _, err := Create(t.Context(), tor, filepath.Join(dir, "file"), nil)
	wantErr(t, err, unix.EROFS)
}
