package torrentfmt

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const oneHash = "a9993e364706816aba3e25717850c26c9cd0d89d"

const validFolder = `{
  "mtorrent": 2,
  "tracker_url_1": "10.0.0.1:7000",
  "tracker_url_2": "10.0.0.2:7000",
  "filename": "model",
  "filesize": 12,
  "files": [
    {"path": "README", "size": 7, "executable": false},
    {"path": "bin/run", "size": 5, "executable": true},
    {"path": "empty", "size": 0, "executable": false}
  ],
  "hash_string": "` + oneHash + `"
}
`

func TestFolderIsReadAndWrittenAsDocumented(t *testing.T) {
	got, err := Parse([]byte(validFolder))
	if err != nil {
		t.Fatal(err)
	}
	want := []File{{"README", 7, false}, {"bin/run", 5, true}, {"empty", 0, false}}
	if !got.Folder() || !slices.Equal(got.Files, want) || got.Size != 12 || got.Name != "model" {
		t.Errorf("got %+v", got)
	}
	if out := string(got.Encode()); out != validFolder {
		t.Errorf("encoded as\n%s", out)
	}
	// The ID, worked out by hand: what docs/protocol.md says.
	raw, _ := hex.DecodeString(oneHash)
	list := "7 - README\n5 x bin/run\n0 - empty\n"
	if want := ID(sha1.Sum(append(raw, list...))); got.ID() != want {
		t.Errorf("ID %v, want %v", got.ID(), want)
	}
}

func TestFolderListsAreRefused(t *testing.T) {
	spoil := func(old, new string) string {
		if strings.Count(validFolder, old) != 1 {
			t.Fatalf("%q does not stand once in the example", old)
		}
		return strings.Replace(validFolder, old, new, 1)
	}
	deep := strings.Repeat("d/", MaxDepth) + "f"
	tests := []struct{ what, in, field, problem string }{
		{"no list", spoil(`[
    {"path": "README", "size": 7, "executable": false},
    {"path": "bin/run", "size": 5, "executable": true},
    {"path": "empty", "size": 0, "executable": false}
  ]`, `{}`), "files", "want a list"},
		{"an empty list", `{"mtorrent":2,"tracker_url_1":"a:1","tracker_url_2":"b:1","filename":"x","filesize":0,"files":[],"hash_string":""}`, "files", "empty"},
		{"a path that climbs", spoil("README", "../README"), "files", `".."`},
		{"an absolute path", spoil("README", "/README"), "files", "empty"},
		{"a path to a folder", spoil("README", "README/"), "files", "empty"},
		{"a dot", spoil("README", "./README"), "files", `"."`},
		{"a backslash", spoil("README", `C:\\README`), "files", "separator"},
		{"a control character", spoil("README", `RE\nADME`), "files", "control"},
		{"an empty path", spoil("README", ""), "files", "empty"},
		{"a long component", spoil("README", strings.Repeat("R", MaxNameLen+1)), "files", "256 bytes"},
		{"a long path", spoil("README", strings.Repeat("R/", MaxPathLen/2)+"R"), "files", "1025 bytes"},
		{"a deep path", spoil("README", deep), "files", "65 components"},
		{"a path twice", spoil("bin/run", "README"), "files", "twice"},
		{"not sorted", spoil("README", "zzz"), "files", "not sorted"},
		{"case alone", spoil("bin/run", "Readme"), "files", "cannot both stand"},
		{"a file and a folder", spoil("bin/run", "README/x"), "files", "cannot both stand"},
		{"a file and a folder by case", spoil("bin/run", "Readme/x"), "files", "cannot both stand"},
		{"a sum too small", spoil(`"size": 7`, `"size": 6`), "files", "add up to 11"},
		{"a sum too large", spoil(`"size": 7`, `"size": 8`), "files", "do not fit"},
		{"a negative size", spoil(`"size": 7`, `"size": -7`), "files", "negative"},
		{"a sum over all bounds", spoil(`"size": 7`, `"size": 9007199254740992`), "files", "do not fit"},
		{"no size", spoil(`, "size": 7`, ``), "files", "missing"},
		{"a size twice", spoil(`"size": 7`, `"size": 7, "size": 7`), "files", "twice"},
		{"an unknown field", spoil(`"size": 7`, `"size": 7, "mode": 1`), "files", `unknown field "mode"`},
		{"no truth", spoil(`"size": 7, "executable": false`, `"size": 7, "executable": 0`), "files", "want true or false"},
		{"no object", spoil(`{"path": "README", "size": 7, "executable": false}`, `"README"`), "files", "want a JSON object"},
		{"cut off", before(validFolder, "empty"), "files", "closing quote"},
		{"too many pieces", spoil(oneHash, oneHash+oneHash), "hash_string", ""},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			got, err := Parse([]byte(tt.in))
			var fieldErr *FieldError
			if !errors.As(err, &fieldErr) {
				t.Fatalf("got %+v, %v; want a FieldError", got, err)
			}
			if fieldErr.Field != tt.field || !strings.Contains(fieldErr.Problem, tt.problem) {
				t.Errorf("field %q, problem %q; want field %q, problem with %q", fieldErr.Field, fieldErr.Problem, tt.field, tt.problem)
			}
		})
	}
}

func before(s, part string) string {
	head, _, _ := strings.Cut(s, part)
	return head
}

func TestFolderOfTooManyFilesIsRefused(t *testing.T) {
	folder := &Torrent{Trackers: [2]string{"a:1", "b:1"}, Name: "many"}
	for i := range MaxFiles {
		folder.Files = append(folder.Files, File{Path: fmt.Sprintf("%06d", i)})
	}
	if err := folder.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(folder.Encode()); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	folder.Files = append(folder.Files, File{Path: "x"})
	if err := folder.Check(); err == nil {
		t.Error("one more passed")
	}
	if _, err := Parse(folder.Encode()); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("one more was read: %v", err)
	}
}

func TestTheCanonicalListIsChecked(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := folders().Draw(rt, "folder")
		list := AppendList(nil, f.Files)
		if err := CheckList(list, f.Size); err != nil {
			rt.Fatalf("%q: %v", list, err)
		}
		if CheckList(list, f.Size+1) == nil || CheckList(list[:len(list)-1], f.Size) == nil || CheckList(list[1:], f.Size) == nil {
			rt.Fatalf("%q: another size or a part of it passed", list)
		}
	})
}

// FuzzCheckList: what CheckList takes is what AppendList writes.
func FuzzCheckList(f *testing.F) {
	f.Add([]byte("7 - README\n5 x bin/run\n0 - empty\n"), int64(12))
	f.Add([]byte("01 - a\n"), int64(1))
	f.Add([]byte("-1 - a\n"), int64(-1))
	f.Add([]byte("1 - \n"), int64(1))
	f.Fuzz(func(t *testing.T, list []byte, size int64) {
		if CheckList(list, size) != nil {
			return
		}
		folder := &Torrent{Trackers: [2]string{"a:1", "b:1"}, Name: "n", Size: size}
		for line := range strings.Lines(string(list)) {
			parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
			n, _ := strconv.ParseInt(parts[0], 10, 64)
			folder.Files = append(folder.Files, File{parts[2], n, parts[1] == "x"})
		}
		if size <= 1<<30 {
			folder.Hashes = make([]byte, HashSize*folder.NumPieces())
			if err := folder.Check(); err != nil {
				t.Fatalf("%q: %v", list, err)
			}
		}
		if again := AppendList(nil, folder.Files); string(again) != string(list) {
			t.Fatalf("%q is written as %q", list, again)
		}
	})
}

func TestFoldersWithOtherListsHaveOtherIDs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := folders().Draw(rt, "a"), folders().Draw(rt, "b")
		if same := a.ID() == b.ID(); same != slices.Equal(a.Files, b.Files) {
			rt.Fatalf("%+v and %+v: the same ID is %v", a.Files, b.Files, same)
		}
	})
}

func TestEveryFolderSurvivesEncodeAndParse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := folders().Draw(rt, "folder")
		data := want.Encode()
		got, err := Parse(data)
		if err != nil {
			rt.Fatalf("%v of\n%s", err, data)
		}
		if !got.Equal(want) {
			rt.Fatalf("got %+v, want %+v", got, want)
		}
		sameAsEncodingJSON(rt, data, got)
	})
}

// folders draws what Check accepts.
func folders() *rapid.Generator[*Torrent] {
	return rapid.Custom(func(rt *rapid.T) *Torrent {
		paths := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c]{1,2}(/[a-cé "&]{1,2}){0,2}`), 1, 5, rapid.ID[string]).Draw(rt, "paths")
		slices.Sort(paths)
		t := &Torrent{Trackers: [2]string{"a:1", "b:2"}, Name: "folder"}
		for _, p := range paths {
			f := File{Path: p, Size: rapid.Int64Range(0, 3).Draw(rt, "size"), Executable: rapid.Bool().Draw(rt, "x")}
			t.Files = append(t.Files, f)
			t.Size += f.Size
		}
		t.Hashes = make([]byte, HashSize*t.NumPieces())
		if t.Check() != nil {
			rt.Skip("a file and a folder under one name")
		}
		return t
	})
}
