package torrentfmt

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a folder. Who reads a .mtorrent of a stranger reserves no more than
// they allow.
const (
	// MaxFiles bounds the files of a folder: each costs its receivers a file
	// of their own, with its syncs.
	MaxFiles = 65_536
	// MaxPathLen bounds the path of a file in its folder, in bytes: the whole
	// of what some systems take.
	MaxPathLen = 1024
	// MaxDepth bounds the components of a path: each is looked up by itself.
	MaxDepth = 64
	// MaxListLen bounds the canonical list of a folder's files, in bytes. A
	// tracker keeps the list with the hash string.
	MaxListLen = 4<<20 - 1
)

// AppendList appends the canonical list of files to b: for each, in order, one
// line of its size in decimal digits, a space, 'x' if it is executable and '-'
// if not, a space, its path, and a newline. No path holds a newline.
func AppendList(b []byte, files []File) []byte {
	for i := range files {
		f := &files[i]
		b = strconv.AppendInt(b, f.Size, 10)
		mode := byte('-')
		if f.Executable {
			mode = 'x'
		}
		b = append(b, ' ', mode, ' ')
		b = append(b, f.Path...)
		b = append(b, '\n')
	}
	return b
}

// listLineLen is what a file adds to the canonical list, in bytes.
func listLineLen(f *File) int {
	var digits [20]byte
	return len(strconv.AppendInt(digits[:0], f.Size, 10)) + len(" x ") + len(f.Path) + 1
}

// checkFiles refuses a list that cannot be made into a folder on every system:
// paths out of order or too long, that would fall together where case does not
// count, or of which one is both a file and a folder. total is the sum of sizes
// that is wanted.
func checkFiles(files []File, total int64) error {
	switch {
	case len(files) == 0:
		return refuse(fieldFiles, "empty: a folder without files cannot be shared")
	case len(files) > MaxFiles:
		return refuse(fieldFiles, "%d files: at most %d", len(files), MaxFiles)
	}
	sum, list := int64(0), 0
	taken := make(names, len(files))
	for i := range files {
		f := &files[i]
		if problem := pathProblem(f.Path); problem != "" {
			return refuse(fieldFiles, "path %d, %q: %s", i, cut(f.Path), problem)
		}
		if i > 0 && f.Path <= files[i-1].Path {
			if f.Path == files[i-1].Path {
				return refuse(fieldFiles, "path %d, %q, is given twice", i, cut(f.Path))
			}
			return refuse(fieldFiles, "path %d, %q, is not sorted: it belongs before %q", i, cut(f.Path), cut(files[i-1].Path))
		}
		before := ""
		if i > 0 {
			before = files[i-1].Path
		}
		if other := taken.add(f.Path, before); other != "" {
			return refuse(fieldFiles, "%q and %q cannot both stand in one folder on every system", cut(other), cut(f.Path))
		}
		if f.Size < 0 || f.Size > total-sum {
			return refuse(fieldFiles, "the sizes up to path %d, %q, do not fit filesize %d", i, cut(f.Path), total)
		}
		sum += f.Size
		if list += listLineLen(f); list > MaxListLen {
			return refuse(fieldFiles, "the list of all paths is longer than %d bytes", MaxListLen)
		}
	}
	if sum != total {
		return refuse(fieldFiles, "the sizes add up to %d, filesize is %d", sum, total)
	}
	return nil
}

// pathProblem says what keeps a path from standing in a folder; "" if nothing
// does.
func pathProblem(path string) string {
	if len(path) > MaxPathLen {
		return strconv.Itoa(len(path)) + " bytes: at most " + strconv.Itoa(MaxPathLen)
	}
	if n := strings.Count(path, "/") + 1; n > MaxDepth {
		return strconv.Itoa(n) + " components: at most " + strconv.Itoa(MaxDepth)
	}
	for name := range strings.SplitSeq(path, "/") {
		if problem := nameProblem(name); problem != "" {
			if len(name) < len(path) {
				return "the component " + strconv.Quote(cut(name)) + ": " + problem
			}
			return problem
		}
	}
	return ""
}

// names are the files and folders that a list has named so far, by their
// spelling without case.
type names map[string]named

type named struct {
	path string // as spelt
	file bool
}

// add takes a file's path in, and returns an earlier one that it falls together
// with. Folders that it shares with the path before it are known.
func (n names) add(path, before string) (other string) {
	key := fold(path)
	if len(key) != len(path) {
		before = "" // the places of the slashes differ
	}
	known := strings.LastIndexByte(path[:common(path, before)], '/')
	for i, j := 0, 0; ; i, j = i+1, j+1 {
		di, dj := strings.IndexByte(key[i:], '/'), strings.IndexByte(path[j:], '/')
		if di < 0 {
			break
		}
		i, j = i+di, j+dj
		if j <= known {
			continue
		}
		was, there := n[key[:i]]
		if there && (was.file || was.path != path[:j]) {
			return was.path
		}
		n[key[:i]] = named{path: path[:j]}
	}
	if was, there := n[key]; there {
		return was.path
	}
	n[key] = named{path: path, file: true}
	return ""
}

func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// fold maps all spellings of a path that differ in case alone to one.
func fold(path string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}
		least := r
		for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
			least = min(least, s)
		}
		if 'A' <= least && least <= 'Z' { // such as the Kelvin sign
			least += 'a' - 'A'
		}
		return least
	}, path)
}

// CheckList refuses what is not the canonical list of a folder of size bytes.
func CheckList(list []byte, size int64) error {
	if len(list) > MaxListLen {
		return refuse(fieldFiles, "the list of all paths is longer than %d bytes", MaxListLen)
	}
	var files []File
	for rest := list; len(rest) > 0; {
		line, behind, ended := bytes.Cut(rest, []byte{'\n'})
		digits, tail, parted := bytes.Cut(line, []byte{' '})
		n, err := wholeNumber(string(digits))
		if !ended || !parted || err != nil || len(tail) < 2 || tail[0] != 'x' && tail[0] != '-' || tail[1] != ' ' || len(files) == MaxFiles {
			return refuse(fieldFiles, "line %d of the list is no file", len(files))
		}
		files = append(files, File{Path: string(tail[2:]), Size: n, Executable: tail[0] == 'x'})
		rest = behind
	}
	return checkFiles(files, size)
}
