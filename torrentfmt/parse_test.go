package torrentfmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const twoHashes = "0123456789abcdef0123456789abcdef01234567" + "89abcdef0123456789abcdef0123456789abcdef"

// valid is a .mtorrent of two pieces, for tests to spoil.
const valid = `{
  "mtorrent": 1,
  "tracker_url_1": "10.0.0.1:7000",
  "tracker_url_2": "quic://[2001:db8::2]:7000",
  "filename": "disk image.qcow2",
  "filesize": 1048576,
  "hash_string": "` + twoHashes + `"
}
`

func TestParseReadsEveryField(t *testing.T) {
	got, err := Parse([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if got.Trackers != [2]string{"10.0.0.1:7000", "quic://[2001:db8::2]:7000"} {
		t.Errorf("trackers %q", got.Trackers)
	}
	if got.Name != "disk image.qcow2" || got.Size != 1<<20 || fmt.Sprintf("%x", got.Hashes) != twoHashes {
		t.Errorf("got %+v", got)
	}
	if id := got.ID().String(); id != "aeacbe309c505a3cd58c10f89f850691fdb07ed8" {
		t.Errorf("ID %s", id)
	}
}

func TestParseTakesFieldsInAnyOrderAndSpacing(t *testing.T) {
	in := "\t{\"hash_string\":\"\",\r\n\"filesize\":0,\"filename\" : \"\\u0061\\ud83d\\ude00\\/b\"" +
		`,"tracker_url_2":"b:2","tracker_url_1":"a:1","mtorrent":1}  `
	_, err := Parse([]byte(in))
	if err == nil || !strings.Contains(err.Error(), "separator '/'") {
		t.Fatalf("an escaped separator passed: %v", err)
	}
	got, err := Parse([]byte(strings.Replace(in, `\/`, `\"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := &Torrent{Trackers: [2]string{"a:1", "b:2"}, Name: `a😀"b`, Hashes: []byte{}}
	if !got.Equal(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	spoil := func(old, new string) string {
		if strings.Count(valid, old) != 1 {
			t.Fatalf("%q does not stand once in the example", old)
		}
		return strings.Replace(valid, old, new, 1)
	}
	const (
		version  = `"mtorrent": 1`
		tracker1 = `"10.0.0.1:7000"`
		tracker2 = `"quic://[2001:db8::2]:7000"`
		name     = `"disk image.qcow2"`
		size     = `1048576`
		hashes   = `"` + twoHashes + `"`
	)
	tests := []struct {
		what, in string
		field    string
		problem  string // a part of the message
	}{
		{"empty input", "", "", "empty"},
		{"blank input", " \n", "", "empty"},
		{"no JSON", "d8:announce", "", "want a JSON object"},
		{"a byte order mark", "\ufeff" + valid, "", "want a JSON object"},
		{"a list", "[" + valid + "]", "", "want a JSON object"},
		{"null", "null", "", "want a JSON object"},
		{"cut off", valid[:len(valid)-3], "", "cut off"},
		{"cut off in a string", valid[:len(valid)-5], "hash_string", "closing quote"},
		{"nothing but a brace", "{", "", "cut off"},
		{"a missing colon", spoil(`"filesize":`, `"filesize"`), "", "colon"},
		{"a missing comma", spoil(`1048576,`, `1048576`), "", "comma"},
		{"a comma too much", spoil(hashes, hashes+","), "", "name in quotes"},
		{"a bare name", spoil(`"filesize"`, `filesize`), "", "name in quotes"},
		{"a comment", spoil("1048576,", "1048576, // bytes\n"), "", "name in quotes"},
		{"trailing data", valid + "x", "", "after the end"},
		{"a second object", valid + valid, "", "after the end"},
		{"a trailing NUL", valid + "\x00", "", "after the end"},

		{"no fields", "{}", "mtorrent", "missing"},
		{"no version", spoil(version+",", ""), "mtorrent", "missing"},
		{"no tracker_url_1", spoil(`"tracker_url_1": `+tracker1+",", ""), "tracker_url_1", "missing"},
		{"no tracker_url_2", spoil(`"tracker_url_2": `+tracker2+",", ""), "tracker_url_2", "missing"},
		{"no filename", spoil(`"filename": `+name+",", ""), "filename", "missing"},
		{"no filesize", spoil(`"filesize": `+size+",", ""), "filesize", "missing"},
		{"no hash_string", spoil(",\n  \"hash_string\": "+hashes, ""), "hash_string", "missing"},
		{"a duplicate", spoil(size, size+`, "filename": `+name), "filename", "twice"},
		{"a duplicate by escape", spoil(size, size+`, "\u0066ilename": `+name), "filename", "twice"},
		{"a duplicate version", spoil(version, version+`, "mtorrent": 1`), "mtorrent", "twice"},
		{"an unknown field", spoil(size, size+`, "comment": "x"`), "", `unknown field "comment"`},
		{"another case", spoil(`"filename"`, `"Filename"`), "", `unknown field "Filename"`},
		{"another case by folding", spoil(`"filesize"`, `"file\u017fize"`), "", "unknown field"},
		{"an empty name", spoil(`"filesize"`, `""`), "", `unknown field ""`},
		{"a name that is not UTF-8", spoil(`"filesize"`, "\"\xff\""), "", "not UTF-8"},

		{"version 0", spoil(version, `"mtorrent": 0`), "mtorrent", "unknown version 0"},
		{"version 3", spoil(version, `"mtorrent": 3`), "mtorrent", "unknown version 3"},
		{"version 3 with fields of its own", `{"mtorrent":3,"x":[]}`, "mtorrent", "unknown version 3"},
		{"version 2 without files", spoil(version, `"mtorrent": 2`), "files", "missing"},
		{"version 1 with files", spoil(size, size+`, "files": []`), "files", "only of version 2"},
		{"version 1.0", spoil(version, `"mtorrent": 1.0`), "mtorrent", "unknown version 1.0"},
		{"version -1", spoil(version, `"mtorrent": -1`), "mtorrent", "unknown version -1"},
		{"version as a string", spoil(version, `"mtorrent": "1"`), "mtorrent", "a string: want a number"},
		{"version null", spoil(version, `"mtorrent": null`), "mtorrent", "null"},
		{"version true", spoil(version, `"mtorrent": true`), "mtorrent", "truth"},

		{"size -1", spoil(size, "-1"), "filesize", "negative"},
		{"size -0", spoil(size, "-0"), "filesize", "negative"},
		{"size 1.0", spoil(size, "1048576.0"), "filesize", "plain digits"},
		{"size with an exponent", spoil(size, "1e6"), "filesize", "plain digits"},
		{"size with a plus", spoil(size, "+1"), "filesize", "no JSON value"},
		{"size with a leading zero", spoil(size, "01048576"), "filesize", "not a JSON number"},
		{"size -", spoil(size, "-"), "filesize", "not a JSON number"},
		{"size 0x100000", spoil(size, "0x100000"), "", "comma"},
		{"size NaN", spoil(size, "NaN"), "filesize", "no JSON value"},
		{"size as a string", spoil(size, `"1048576"`), "filesize", "a string: want a number"},
		{"size null", spoil(size, "null"), "filesize", "null"},
		{"size in a list", spoil(size, "[1048576]"), "filesize", "a list"},
		{"size missing after its colon", spoil(size, ""), "filesize", "no JSON value"},
		{"size over 2^53", spoil(size, "9007199254740993"), "filesize", "2^53"},
		{"size over 2^63", spoil(size, "9223372036854775808"), "filesize", "2^53"},
		{"size of 1000 digits", spoil(size, strings.Repeat("9", 1000)), "filesize", "2^53"},
		{"size 2^53", spoil(size, "9007199254740992"), "filesize", "4194304 pieces"},
		{"one byte more than the pieces hold", spoil(size, "2199023255553"), "filesize", "at most 2199023255552"},
		{"size of three pieces", spoil(size, "1048577"), "hash_string", "2 digests: a filesize of 1048577 bytes needs 3"},
		{"size of one piece", spoil(size, "524288"), "hash_string", "needs 1"},
		{"size 0 with digests", spoil(size, "0"), "hash_string", "needs 0"},

		{"an empty hash string", spoil(hashes, `""`), "hash_string", "0 digests"},
		{"half a byte", spoil(twoHashes, twoHashes[1:]), "hash_string", "79 characters"},
		{"a byte less", spoil(twoHashes, twoHashes[2:]), "hash_string", "whole number"},
		{"one digest less", spoil(twoHashes, twoHashes[40:]), "hash_string", "1 digests"},
		{"upper-case hex", spoil(twoHashes, strings.ToUpper(twoHashes)), "hash_string", `character 10, "A", is not lower-case hex`},
		{"no hex", spoil(twoHashes, twoHashes[:79]+"g"), "hash_string", `character 79, "g"`},
		{"a space", spoil(twoHashes, twoHashes[:78]+" 0"), "hash_string", `character 78, " "`},
		{"hash string null", spoil(hashes, "null"), "hash_string", "null"},
		{"hash string in a list", spoil(hashes, "["+hashes+"]"), "hash_string", "a list"},
		{"hash string as a number", spoil(hashes, "12"), "hash_string", "a number: want a string"},

		{"an empty filename", spoil(name, `""`), "filename", "empty"},
		{"filename .", spoil(name, `"."`), "filename", "folder"},
		{"filename ..", spoil(name, `".."`), "filename", "folder"},
		{"a filename of 256 bytes", spoil(name, `"`+strings.Repeat("n", 256)+`"`), "filename", "256 bytes: at most 255"},
		{"a filename of 256 bytes in 128 characters", spoil(name, `"`+strings.Repeat("é", 128)+`"`), "filename", "at most 255"},
		{"a filename with a slash", spoil(name, `"../x"`), "filename", "separator '/'"},
		{"a filename with a backslash", spoil(name, `"a\\b"`), "filename", `separator '\\'`},
		{"a filename with NUL", spoil(name, `"a\u0000"`), "filename", "control character U+0000"},
		{"a filename with an escaped newline", spoil(name, `"a\nb"`), "filename", "control character U+000A"},
		{"a filename with DEL", spoil(name, "\"a\x7f\""), "filename", "control character U+007F"},
		{"a filename with a C1 control", spoil(name, `"a\u009bb"`), "filename", "control character U+009B"},
		{"a filename with a bare newline", spoil(name, "\"a\nb\""), "filename", "bare control character U+000A"},
		{"a filename that is not UTF-8", spoil(name, "\"a\xff\""), "filename", "not UTF-8"},
		{"a filename with a surrogate in UTF-8", spoil(name, "\"\xed\xa0\x80\""), "filename", "not UTF-8"},
		{"a high surrogate alone", spoil(name, `"\ud800"`), "filename", `half of a surrogate pair, \ud800`},
		{"a high surrogate before a letter", spoil(name, `"\ud800abcdef"`), "filename", "surrogate"},
		{"two high surrogates", spoil(name, `"\ud800\ud800"`), "filename", "surrogate"},
		{"a low surrogate alone", spoil(name, `"\udc00"`), "filename", "surrogate"},
		{"a pair the wrong way round", spoil(name, `"\udc00\ud800"`), "filename", "surrogate"},
		{"an unknown escape", spoil(name, `"\x41"`), "filename", "unknown escape"},
		{"a short escape", spoil(name, `"\u00"`), "filename", "unknown escape"},
		{"an escape without hex", spoil(name, `"\u00g0"`), "filename", "unknown escape"},
		{"a filename as a number", spoil(name, `7`), "filename", "a number: want a string"},
		{"a filename null", spoil(name, `null`), "filename", "null"},
		{"a filename as an object", spoil(name, `{}`), "filename", "an object"},

		{"an empty tracker", spoil(tracker1, `""`), "tracker_url_1", "host:port"},
		{"a tracker without a port", spoil(tracker1, `"10.0.0.1"`), "tracker_url_1", "host:port"},
		{"a tracker without a host", spoil(tracker1, `":7000"`), "tracker_url_1", "host is missing"},
		{"a tracker at port 0", spoil(tracker2, `"10.0.0.1:0"`), "tracker_url_2", "port 0"},
		{"a tracker at port 65536", spoil(tracker2, `"10.0.0.1:65536"`), "tracker_url_2", "65535"},
		{"a tracker over http", spoil(tracker2, `"http://10.0.0.1:80"`), "tracker_url_2", "unknown scheme"},
		{"a tracker with a path", spoil(tracker1, `"10.0.0.1:80/announce"`), "tracker_url_1", "port"},
		{"a bare IPv6 tracker", spoil(tracker1, `"2001:db8::1:80"`), "tracker_url_1", "brackets"},
		{"a tracker of 300 bytes", spoil(tracker1, `"`+strings.Repeat("h", 300)+`:80"`), "tracker_url_1", "280"},
		{"a tracker null", spoil(tracker1, `null`), "tracker_url_1", "null"},
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
			if msg := err.Error(); strings.ContainsAny(msg, "\n\r\x00\x7f") || len(msg) > 500 {
				t.Errorf("not one short line: %q", msg)
			}
		})
	}
}

func TestParseRefusesMoreThanTheLargestTorrentNeeds(t *testing.T) {
	data := make([]byte, MaxFileLen+1)
	copy(data, valid)
	_, err := Parse(data)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at most %d", MaxFileLen)) {
		t.Errorf("one byte over the limit: %v", err)
	}
	// As long as the limit, it is read: to the first NUL.
	_, err = Parse(data[:MaxFileLen])
	if err == nil || !strings.Contains(err.Error(), "after the end") {
		t.Errorf("as long as the limit: %v", err)
	}
}

// BenchmarkOpenLargest reads such a file for real.
func TestTheLargestTorrentFitsItsFile(t *testing.T) {
	host := strings.Repeat(strings.Repeat("h", 62)+".", 4) + "h" // 253 bytes
	largest := &Torrent{
		Trackers: [2]string{host + ":65535", "quic://" + host + ":65535"},
		Name:     strings.Repeat("n", MaxNameLen),
		Size:     MaxPieces * PieceSize,
	}
	if err := largest.check(MaxPieces * HashSize); err != nil {
		t.Fatal(err)
	}
	rest := len(largest.Encode())
	// Another writer may spell each character as a six-byte escape.
	if n := 6*rest + MaxPieces*2*HashSize; n > MaxFileLen {
		t.Errorf("%d bytes are over the limit", n)
	}
	largest.Size++
	if err := largest.check(MaxPieces * HashSize); err == nil {
		t.Error("a byte more passed")
	}
}

func TestEncodeIsOneFieldALine(t *testing.T) {
	got, err := Parse([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if out := string(got.Encode()); out != valid {
		t.Errorf("encoded as\n%s\nwant\n%s", out, valid)
	}
}

func TestParseSharesNoMemoryWithItsInput(t *testing.T) {
	data := []byte(valid)
	got, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if string(got.Encode()) != valid {
		t.Error("the torrent changed with the input")
	}
}

// torrents generates what Check accepts, with small hash strings.
func torrents() *rapid.Generator[*Torrent] {
	return rapid.Custom(func(rt *rapid.T) *Torrent {
		name := rapid.StringN(1, -1, MaxNameLen).Filter(func(s string) bool { return CheckName(s) == nil })
		tracker := rapid.SampledFrom([]string{"a.example:1", "tcp://10.0.0.1:65535", "quic://[::1]:7000", "[fe80::1%eth0]:9"})
		size := rapid.Int64Range(0, 20*PieceSize).Draw(rt, "size")
		n := NumPieces(size) * HashSize
		return &Torrent{
			Trackers: [2]string{tracker.Draw(rt, "tracker 1"), tracker.Draw(rt, "tracker 2")},
			Name:     name.Draw(rt, "name"),
			Size:     size,
			Hashes:   rapid.SliceOfN(rapid.Byte(), n, n).Draw(rt, "hashes"),
		}
	})
}

func TestEveryTorrentSurvivesEncodeAndParse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := torrents().Draw(rt, "torrent")
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

func TestPiecesCoverTheFileOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// The edges of pieces are where arithmetic breaks.
		pieces := rapid.Int64Range(0, MaxPieces).Draw(rt, "pieces")
		size := min(max(pieces*PieceSize+rapid.Int64Range(-2, 2).Draw(rt, "off"), 0), MaxPieces*PieceSize)
		n := NumPieces(size)
		if n > MaxPieces || int64(n)*PieceSize < size || int64(n-1)*PieceSize >= size && n > 0 {
			rt.Fatalf("%d pieces for %d bytes", n, size)
		}
		if n == 0 {
			return
		}
		last := PieceLen(size, n-1)
		if last < 1 || last > PieceSize || int64(n-1)*PieceSize+int64(last) != size {
			rt.Fatalf("the last of %d pieces of %d bytes has %d", n, size, last)
		}
		if i := rapid.IntRange(0, n-1).Draw(rt, "i"); i < n-1 && PieceLen(size, i) != PieceSize {
			rt.Fatalf("piece %d of %d bytes has %d", i, size, PieceLen(size, i))
		}
	})
}

// sameAsEncodingJSON holds the scanner against the standard library, which
// takes more but must understand the same.
func sameAsEncodingJSON(t interface{ Fatalf(string, ...any) }, data []byte, got *Torrent) {
	var want struct {
		Version  int    `json:"mtorrent"`
		Tracker1 string `json:"tracker_url_1"`
		Tracker2 string `json:"tracker_url_2"`
		Name     string `json:"filename"`
		Size     int64  `json:"filesize"`
		Hashes   string `json:"hash_string"`
		Files    []File `json:"files"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("encoding/json refuses what Parse took: %v", err)
	}
	if got.Folder() != (want.Version == 2) || !slices.Equal(got.Files, want.Files) || got.Trackers != [2]string{want.Tracker1, want.Tracker2} ||
		got.Name != want.Name || got.Size != want.Size || fmt.Sprintf("%x", got.Hashes) != want.Hashes {
		t.Fatalf("Parse read %+v, encoding/json %+v", got, want)
	}
}

// FuzzParse: what Parse takes, encoding/json reads the same, and it survives
// Encode; what it refuses, it refuses with one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(`{"mtorrent":1,"tracker_url_1":"a:1","tracker_url_2":"b:2","filename":"\ud83d\ude00","filesize":0,"hash_string":""}`))
	f.Add([]byte(`{"mtorrent":1,"\u0066ilename":"x","filename":"x"}`))
	f.Add([]byte(`{"mtorrent":1,"filesize":-1}`))
	f.Add([]byte(`{"mtorrent":1,"filename":"\ud800"}`))
	f.Add([]byte(validFolder))
	f.Add([]byte(`{"mtorrent":2,"files":[{"path":"a","size":1,"executable":false,"path":"b"}]}`))
	f.Add([]byte("{}"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		if err != nil {
			var fieldErr *FieldError
			if !errors.As(err, &fieldErr) || strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Fatalf("refused with %q", err)
			}
			return
		}
		if err := got.Check(); err != nil {
			t.Fatalf("Parse took what Check refuses: %v", err)
		}
		sameAsEncodingJSON(t, data, got)
		again, err := Parse(got.Encode())
		if err != nil || !again.Equal(got) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

func BenchmarkOpenLargest(b *testing.B) {
	path := filepath.Join(b.TempDir(), "big.mtorrent")
	big := &Torrent{
		Trackers: [2]string{"a:1", "b:1"}, Name: "n",
		Size: MaxPieces * PieceSize, Hashes: make([]byte, MaxPieces*HashSize),
	}
	data := big.Encode()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(path); err != nil {
			b.Fatal(err)
		}
	}
}
