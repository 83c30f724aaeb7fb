// Package torrentfmt owns the .mtorrent file: its strict plain-text codec,
// the torrent ID, the arithmetic of pieces, and making and verifying a torrent
// of a file or a folder on disk. It knows nothing of networks.
package torrentfmt

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
)

const (
	// PieceSize is the length of every piece but the last, in bytes.
	PieceSize = 512 << 10
	// HashSize is the length of one piece's SHA-1 digest, in bytes.
	HashSize = sha1.Size
	// MaxPieces bounds a torrent: 4,194,304 pieces are 2 TiB, and their hash
	// string is 80 MiB raw.
	MaxPieces = 4_194_304
	// MaxSize is the largest file size, 2^53: the largest range of integers
	// that every JSON reader keeps exact (RFC 8259, section 6).
	MaxSize = 1 << 53
	// MaxNameLen bounds a filename in bytes, as file systems do.
	MaxNameLen = 255
	// Ext is the usual ending of a .mtorrent file's name.
	Ext = ".mtorrent"
)

// ID identifies a torrent: the SHA-1 of its Identity.
type ID [sha1.Size]byte

// String is the ID in lower-case hex, 40 characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IDFromBytes takes the 20 raw bytes of an ID.
func IDFromBytes(b []byte) (ID, error) {
	if len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("torrent ID of %d bytes: want %d", len(b), len(ID{}))
	}
	return ID(b), nil
}

// HashID is the torrent ID of an Identity.
func HashID(identity []byte) ID { return sha1.Sum(identity) }

// Torrent is what a .mtorrent file says: one file cut into pieces, or the files
// of a folder, one behind the other, cut as if they were one.
type Torrent struct {
	Trackers [2]string // tracker_url_1 and tracker_url_2
	Name     string    // filename: one path component, of the file or the folder
	Size     int64     // filesize in bytes, of all files together
	Files    []File    // of a folder, sorted by path; nil for a single file
	Hashes   []byte    // the raw hash string: HashSize bytes a piece
}

// File is one file of a folder.
type File struct {
	Path       string `json:"path"` // within the folder; components are parted by '/'
	Size       int64  `json:"size"` // bytes
	Executable bool   `json:"executable"`
}

// Folder reports whether the torrent is a folder.
func (t *Torrent) Folder() bool { return t.Files != nil }

// Identity is what the torrent ID is the SHA-1 of: the raw hash string, and
// behind it, for a folder, the canonical list of its files. Do not modify it.
func (t *Torrent) Identity() []byte {
	if !t.Folder() {
		return t.Hashes
	}
	return AppendList(slices.Clip(t.Hashes), t.Files)
}

// ID is the SHA-1 of the identity. It hashes anew at each call: keep it.
func (t *Torrent) ID() ID { return HashID(t.Identity()) }

// Sizes are the sizes of the torrent's files in bytes, in order.
func (t *Torrent) Sizes() []int64 {
	if !t.Folder() {
		return []int64{t.Size}
	}
	sizes := make([]int64, len(t.Files))
	for i := range t.Files {
		sizes[i] = t.Files[i].Size
	}
	return sizes
}

// Paths are the paths of a folder's files, in order; nil for a single file.
func (t *Torrent) Paths() []string {
	var paths []string
	for i := range t.Files {
		paths = append(paths, t.Files[i].Path)
	}
	return paths
}

// NumPieces is how many pieces the file has; 0 for an empty file.
func (t *Torrent) NumPieces() int { return NumPieces(t.Size) }

// PieceLen is the length of piece i in bytes, 0 <= i < NumPieces.
func (t *Torrent) PieceLen(i int) int { return PieceLen(t.Size, i) }

// PieceHash is the expected SHA-1 of piece i; do not modify it.
func (t *Torrent) PieceHash(i int) []byte { return t.Hashes[i*HashSize : (i+1)*HashSize] }

// PieceOK reports whether data is exactly piece i.
func (t *Torrent) PieceOK(i int, data []byte) bool {
	return len(data) == t.PieceLen(i) && sha1.Sum(data) == [HashSize]byte(t.PieceHash(i))
}

// NumPieces is how many pieces a file of size bytes has.
func NumPieces(size int64) int { return int((size + PieceSize - 1) / PieceSize) }

// PieceLen is the length of piece i of a file of size bytes.
func PieceLen(size int64, i int) int {
	return int(min(PieceSize, size-int64(i)*PieceSize))
}
