package torrentfmt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mtor-dev/mtor/transport/address"
)

// The fields of a .mtorrent, in the order in which Encode writes them.
const (
	fieldVersion  = "mtorrent"
	fieldTracker1 = "tracker_url_1"
	fieldTracker2 = "tracker_url_2"
	fieldName     = "filename"
	fieldSize     = "filesize"
	fieldFiles    = "files" // of a folder only
	fieldHashes   = "hash_string"
)

// FieldError says which field of a .mtorrent is refused and why. Both parts
// fit on one line: what comes from the file is quoted and cut short.
type FieldError struct {
	Field   string // a field's name; "" for the document as a whole
	Problem string // what is wrong, with the limit that was passed
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "not a .mtorrent: " + e.Problem
	}
	return e.Field + ": " + e.Problem
}

func refuse(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// Equal reports whether t and u say the same.
func (t *Torrent) Equal(u *Torrent) bool {
	return t.Trackers == u.Trackers && t.Name == u.Name && t.Size == u.Size && t.Folder() == u.Folder() &&
		slices.Equal(t.Files, u.Files) && bytes.Equal(t.Hashes, u.Hashes)
}

// Check refuses, with a *FieldError, a torrent that no .mtorrent may hold.
// What Parse, Open and Create return has passed it.
func (t *Torrent) Check() error { return t.check(len(t.Hashes)) }

// check is Check for a hash string of hashLen raw bytes, which Parse has not
// decoded yet.
func (t *Torrent) check(hashLen int) error {
	for i, field := range []string{fieldTracker1, fieldTracker2} {
		if err := CheckTracker(t.Trackers[i]); err != nil {
			return refuse(field, "%v", err)
		}
	}
	if err := CheckName(t.Name); err != nil {
		return err
	}
	if err := checkSize(t.Size); err != nil {
		return err
	}
	if t.Folder() {
		if err := checkFiles(t.Files, t.Size); err != nil {
			return err
		}
	}
	return checkHashes(t.Size, hashLen)
}

// CheckName refuses, with a *FieldError, a filename that is not one plain path
// component of at most MaxNameLen bytes of UTF-8. Both '/' and '\' separate,
// on every system, so that a .mtorrent means the same wherever it is read.
func CheckName(name string) error {
	if problem := nameProblem(name); problem != "" {
		return refuse(fieldName, "%s", problem)
	}
	return nil
}

// nameProblem says what keeps name from being one plain path component; "" if
// nothing does.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "empty"
	case name == "." || name == "..":
		return fmt.Sprintf("%q names a folder", name)
	case len(name) > MaxNameLen:
		return fmt.Sprintf("%d bytes: at most %d", len(name), MaxNameLen)
	case !utf8.ValidString(name):
		return "not UTF-8"
	}
	if i := strings.IndexAny(name, `/\`); i >= 0 {
		return fmt.Sprintf("holds the separator %q: want a bare name", name[i])
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return fmt.Sprintf("holds the control character %U", r)
	}
	return ""
}

// CheckTracker refuses what cannot stand as a tracker in a .mtorrent: an
// address that package address does not take, or one with port 0.
func CheckTracker(s string) error {
	a, err := address.Parse(s)
	if err != nil {
		return err
	}
	if a.Port == 0 {
		return errors.New("port 0 cannot be dialled: want 1 to 65535")
	}
	return nil
}

// maxPiecesSize is the largest file that MaxPieces pieces hold, in bytes.
const maxPiecesSize = MaxPieces * PieceSize

func checkSize(size int64) error {
	switch {
	case size < 0:
		return refuse(fieldSize, "%d is negative", size)
	case size > MaxSize:
		return refuse(fieldSize, "over 2^53 bytes")
	case size > maxPiecesSize:
		return refuse(fieldSize, "%d bytes: at most %d (%d pieces of %d bytes)", size, int64(maxPiecesSize), MaxPieces, PieceSize)
	}
	return nil
}

// checkHashes holds the raw length of the hash string, in bytes, against a
// size that checkSize has passed.
func checkHashes(size int64, length int) error {
	if length%HashSize != 0 {
		return refuse(fieldHashes, "%d bytes are no whole number of %d-byte digests", length, HashSize)
	}
	n := length / HashSize
	if n > MaxPieces {
		return refuse(fieldHashes, "%d digests: at most %d", n, MaxPieces)
	}
	if want := NumPieces(size); n != want {
		return refuse(fieldHashes, "%d digests: a filesize of %d bytes needs %d, one for each %d bytes", n, size, want, PieceSize)
	}
	return nil
}
