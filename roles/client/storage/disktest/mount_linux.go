package disktest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inMount names, in the child, the folder on which to mount a disk.
const inMount = "MTOR_TEST_SMALL_DISK"

// Mount runs the calling test, which is no subtest, once more in a process that
// has a disk of so many bytes, in mount and user namespaces of its own, and
// returns the disk's folder there. In the first process it returns "", and the
// test is over. Where there are no namespaces the test is skipped.
func Mount(t *testing.T, bytes string) (dir string) {
	t.Helper()
	if dir := os.Getenv(inMount); dir != "" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+bytes); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inMount+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWUSER,
		Unshareflags: syscall.CLONE_NEWNS,
		UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("this system gives no namespace to mount a small disk in: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return ""
}

// ReadOnly makes the disk of Mount read-only.
func ReadOnly(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// Free is how many bytes the disk at dir has free.
func Free(t *testing.T, dir string) int64 {
	t.Helper()
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	return int64(disk.Bfree) * disk.Bsize
}

// Sparse gives back the room of what is zero in a file, in blocks of 4 KiB, and
// leaves its time as it is: as if it had been copied by a program that saves room.
func Sparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var block, zero [4096]byte
	for off := int64(0); off+int64(len(block)) <= info.Size(); off += int64(len(block)) {
		if _, err := f.ReadAt(block[:], off); err != nil {
			t.Fatal(err)
		}
		if block != zero {
			continue
		}
		const how = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		if err := unix.Fallocate(int(f.Fd()), how, off, int64(len(block))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}
