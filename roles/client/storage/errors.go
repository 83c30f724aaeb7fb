package storage

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
)

var (
	// ErrOccupied: the destination, or the place of its .part, is taken by
	// something that is not ours. See OccupiedError.
	ErrOccupied = errors.New("the destination is occupied")
	// ErrLocked: another client, or another download of this one, is writing
	// the .part. It always comes inside an OccupiedError.
	ErrLocked = errors.New("another download is writing it")
	// ErrNoPiece: the piece is not there.
	ErrNoPiece = errors.New("the piece is not there")
	// ErrIncomplete: Finish before every piece is there.
	ErrIncomplete = errors.New("pieces are missing")
	// ErrChanged: the whole file is no longer what it was.
	ErrChanged = errors.New("the file was changed under the client")
	// ErrReplaced: the .part was deleted, moved or replaced under the download.
	ErrReplaced = errors.New("the file was moved, deleted or replaced while it was in use")
	// ErrFinished: Remove of a file that is whole.
	ErrFinished = errors.New("the file is finished and stays")
)

// OccupiedError names what stands where a download wants to be; nothing of it
// was changed. It is ErrOccupied.
type OccupiedError struct {
	Path string // the file or folder that is in the way
	Why  string // what is wrong with it, in a few words
	Err  error  // a more precise cause, or nil
}

func (e *OccupiedError) Error() string { return e.Path + ": " + e.Why }

// Is makes every OccupiedError an ErrOccupied.
func (e *OccupiedError) Is(target error) bool { return target == ErrOccupied }

func (e *OccupiedError) Unwrap() error { return e.Err }

// MismatchError is a file that is not the torrent's.
type MismatchError struct {
	Path   string
	Size   int64 // the file's, in bytes
	Want   int64 // the torrent's
	Bad    int   // how many pieces are wrong; all of them when the sizes differ, which is not hashed
	Pieces int   // of how many
}

func (e *MismatchError) Error() string {
	if e.Size != e.Want {
		return fmt.Sprintf("%s: %d bytes long, the torrent's file has %d", e.Path, e.Size, e.Want)
	}
	return fmt.Sprintf("%s: %d of %d pieces differ from the torrent's", e.Path, e.Bad, e.Pieces)
}

// PieceError is a piece that cannot be read or written: ErrNoPiece, or
// fs.ErrInvalid for an index or a length that the torrent has not.
type PieceError struct {
	Path  string
	Piece int
	Err   error
}

func (e *PieceError) Error() string { return fmt.Sprintf("%s: piece %d: %v", e.Path, e.Piece, e.Err) }

func (e *PieceError) Unwrap() error { return e.Err }

// FullError is a disk, or a quota, that has no room for a download. It is what
// IsDiskFull knows.
type FullError struct {
	Path  string // the .part
	Lacks int64  // bytes that it needs and the disk has not free; 0 where only the system knows
	Err   error  // the system's
}

func (e *FullError) Error() string {
	if e.Lacks > 0 {
		return fmt.Sprintf("disk full: %s needs %s more than there is room for", e.Path, humanize.IBytes(uint64(e.Lacks)))
	}
	return "disk full: there is no room for " + e.Path
}

func (e *FullError) Unwrap() error { return e.Err }

// IsDiskFull reports whether err means that the disk, or a quota, has no room.
func IsDiskFull(err error) bool {
	for _, full := range diskFull {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}
