package menu

import (
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/roles/client/control"
)

func TestCompletionKnowsWhatMayStandWhere(t *testing.T) {
	for line, want := range map[string]Completion{
		"":                         {Kind: Word, Words: firsts()},
		"sh":                       {Kind: Word, Words: firsts(), Typed: "sh"},
		"share ":                   {Kind: Path, Start: 6},
		`share "a b`:               {Kind: Path, Start: 6, Typed: "a b"},
		"share a b":                {Kind: Mtorrent, Start: 8, Typed: "b"},
		"share a b c":              {Kind: Nothing, Start: 10, Typed: "c"},
		"get ~/x":                  {Kind: Mtorrent, Start: 4, Typed: "/home/ann/x"},
		"get x ":                   {Kind: Path, Start: 6},
		"show ":                    {Kind: Word, Start: 5, Words: []string{"downloads", "peers"}},
		"show peers ":              {Kind: Name, Start: 11},
		"show downloads ":          {Kind: Nothing, Start: 15},
		"relocate a ":              {Kind: Path, Start: 11},
		"limit ":                   {Kind: Name, Start: 6, Words: []string{"up", "down"}},
		"limit up ":                {Kind: Nothing, Start: 9},
		"limit a.mtorrent up 1MB ": {Kind: Word, Start: 24, Words: []string{"up", "down"}},
		"wait ":                    {Kind: Word, Start: 5, Words: []string{"--timeout"}},
		"help show p":              {Kind: Word, Start: 10, Typed: "p", Words: []string{"downloads", "peers"}},
		"help get ":                {Kind: Nothing, Start: 9},
		"quit ":                    {Kind: Nothing, Start: 5},
		"frobnicate ":              {Kind: Nothing, Start: 11},
	} {
		got := Complete(line, "/home/ann")
		got.quote, got.home = 0, ""
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Completion{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}

// FuzzComplete: what is put into a line is the word that the command reads, in
// whatever quotes the line has begun it.
func FuzzComplete(f *testing.F) {
	for _, word := range []string{"a b", "it's", `say "hi"`, `C:\dir\`, "~/x", "~", "/home/ann/x", "/home/ann", "/home/anna", "日本", "a\xff", "#1", "\t", "-"} {
		for _, line := range []string{"get ", "get '", `get "`, "get ~/", `get ~/"`, "get ~/'a", "get a", "", `share "x y" 'z`, "get #"} {
			f.Add(line, word)
		}
	}
	f.Fuzz(func(t *testing.T, line, word string) {
		if strings.ContainsRune(word, 0) || word == "" {
			t.Skip()
		}
		c := Complete(line, "/home/ann")
		before, err := words(line[:c.Start], "/home/ann")
		if err != nil {
			t.Skip() // such a line completes nothing
		}
		if _, _, ok := lastWord(line, "/home/ann"); !ok {
			t.Skip()
		}
		got, err := words(c.Put(line, word, true), "/home/ann")
		if want := slices.Concat(before, []string{word}); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q with %q became %q: %q, %v", line, word, c.Put(line, word, true), got, err)
		}
		open := c.Put(line, word, false)
		if again := Complete(open, "/home/ann"); again.Typed != word || again.Start != c.Start {
			t.Fatalf("%q with %q became %q, which is read as %q", line, word, open, again.Typed)
		}
	})
}

func TestTableIsCutToTheWidth(t *testing.T) {
	list := []control.Download{
		{Name: "debian-13.2.0-amd64-DVD-1.iso", State: control.Downloading, Size: 4 << 30, Done: 1 << 30, DownRate: 12_300_000, Peers: 3},
		{Name: "evil\x1b[2J日本語", State: control.Seeding, Size: 5, Done: 5, UpRate: 250_000_000, Peers: 12},
		{Name: "x", State: control.Failed, Size: 5, Note: "disk full"},
	}
	for width, want := range map[int]string{
		0: `
     NAME                              SIZE  DONE       DOWN        UP  PEERS   LEFT
[D]  debian-13.2.0-amd64-DVD-1.iso  4.0 GiB   25%  12.3 MB/s         -      3  4m22s
[S]  evil\x1b[2J日本語                  5 B  100%          -  250 MB/s     12      -
[!]  x                                  5 B    0%          -         -      0      -
     disk full`,
		70: `
     NAME                SIZE  DONE       DOWN        UP  PEERS   LEFT
[D]  debian-…D-1.iso  4.0 GiB   25%  12.3 MB/s         -      3  4m22s
[S]  evil\x1…J日本語      5 B  100%          -  250 MB/s     12      -
[!]  x                    5 B    0%          -         -      0      -
     disk full`,
	} {
		if diff := cmp.Diff(want, "\n"+strings.Join(downloadTable(list).lines(width), "\n")); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", width, diff)
		}
	}
	peers := strings.Join(peerTable([]control.Peer{
		{Addr: "10.0.0.7:7001", Transport: "tcp", Pieces: 30, Of: 30, Received: 12, Asked: 4, DownRate: 5_500_000},
		{Addr: "[2001:db8::1]:7001", Transport: "quic", Pieces: 3, Of: 30, UpRate: 1_200_000},
	}).lines(0), "\n")
	if diff := cmp.Diff(`
PEER                BY      HAS  CAME  ASKED      DOWN        UP
10.0.0.7:7001       tcp   30/30    12      4  5.5 MB/s         -
[2001:db8::1]:7001  quic   3/30     0      0         -  1.2 MB/s`, "\n"+peers); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

func TestCutNeverExceedsTheWidth(t *testing.T) {
	for _, s := range []string{"", "a", "debian.iso", "日本語日本語", "a日b本c語", "éé…"} {
		for width := range 14 {
			if got := Cut(s, width); ansi.StringWidth(got) > width {
				t.Errorf("%q in %d columns: %q", s, width, got)
			}
		}
	}
}
