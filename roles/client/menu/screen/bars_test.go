package screen

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// TestBarGivesWayInOrder: the bar shrinks first, then the name, then time left,
// peers and rate go, and the share that is done stays to the last.
func TestBarGivesWayInOrder(t *testing.T) {
	d := loading("debian-13-netinst.iso", 420_000_000)
	for width, want := range map[int]string{
		100: "debian-13-netinst.iso  ████████████░░░░░░░░░░░░░░░░░░   42%  12.3 MB/s    3 peers     47s",
		80:  "debian-13-netinst.iso  ████████░░░░░░░░░░░░░   42%  12.3 MB/s    3 peers     47s",
		70:  "debian-13-netinst.iso  ████░░░░░░░   42%  12.3 MB/s    3 peers     47s",
		62:  "debian-13…inst.iso  ██░░░░   42%  12.3 MB/s    3 peers     47s",
		54:  "debia….iso  ██░░░░   42%  12.3 MB/s    3 peers     47s",
		53:  "debian-1…inst.iso  ██░░░░   42%  12.3 MB/s    3 peers",
		44:  "debian-13…tinst.iso  ██░░░░   42%  12.3 MB/s",
		33:  "debian-13…tinst.iso  ██░░░░   42%",
		22:  " 42% debian-13-netins…",
		10:  " 42% debi…",
		5:   " 42%…",
	} {
		if got := ansi.Strip(bar(d, ansi.StringWidth(d.Name), width)); got != want {
			t.Errorf("%d columns:\ngot  %q\nwant %q", width, got, want)
		}
	}
	d.State = control.NoRoom
	if got, want := ansi.Strip(bar(d, 5, 60)), "de…so  ████████████░░░░░░░░░░░░░░░░░░   42%  no room"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMoreBarsThanRoomAreCounted(t *testing.T) {
	var list []control.Download
	for range 12 {
		list = append(list, loading("x", 1))
	}
	for rows, want := range map[int]string{0: "", -3: "", 1: "and 12 more", 2: "and 11 more", 24: "and 5 more"} {
		lines := bars(list, 80, rows)
		if last := strings.Join(lines[max(len(lines)-1, 0):], ""); last != want || len(lines) > max(rows, 0) {
			t.Errorf("%d rows: %d lines, the last is %q", rows, len(lines), last)
		}
	}
	if lines := bars([]control.Download{{State: control.Seeding}, {State: control.Paused}}, 80, 10); len(lines) > 0 {
		t.Errorf("drawn: %q", lines)
	}
}
