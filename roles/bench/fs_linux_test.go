package bench

import "testing"

func TestAFolderLiesOnTheNearestMountAboveIt(t *testing.T) {
	const mounts = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
25 21 0:22 / /dev rw - devtmpfs udev rw
26 25 0:23 / /dev/shm rw shared:4 - tmpfs tmpfs rw
30 21 0:40 / /mnt/a\040b rw - xfs /dev/vdb rw
31 21 0:41 / /mnt/twice rw - xfs /dev/vdc rw
32 21 0:42 / /mnt/twice rw - btrfs /dev/vdd rw
a line that is none
`
	for path, want := range map[string]string{
		"/":              "ext4",
		"/home/x":        "ext4",
		"/dev/shm/x/y":   "tmpfs",
		"/dev/shmother":  "devtmpfs",
		"/mnt/a b/c":     "xfs",
		"/mnt/twice/one": "btrfs",
	} {
		if got := mountedOn(path, mounts); got != want {
			t.Errorf("%s lies on %q, want %q", path, got, want)
		}
	}
}
