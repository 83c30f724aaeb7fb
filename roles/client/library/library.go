// Package library owns the client's memory on disk: which .mtorrent belongs to
// which file, how far each download has come, who this client is to its peers,
// and the newest stamp that a tracker gave it.
//
// It is one bbolt file in the client's state folder, locked while it is open, so
// that a second client on the same folder is refused. Every change is durable
// when the method that makes it returns.
package library

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bits-and-blooms/bitset"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/mtor-dev/mtor/torrentfmt"
)

const (
	// FileName is the library's file in the state folder.
	FileName = "state.db"
	// Format is the version of the file's layout. A library of a newer one is
	// refused.
	Format = 3
	// lockWait is how long Open waits for another client that is just ending.
	lockWait = time.Second
)

var (
	// ErrInUse: another client has this state folder.
	ErrInUse = errors.New("another client is using this state folder")
	// ErrDamaged: the file is no library or is broken. It is left as it is.
	ErrDamaged = errors.New("the library is damaged: move it away to start a new one")
	// ErrNewer: the library was written by a newer mtor. It is left as it is.
	ErrNewer = errors.New("the library was written by a newer mtor")
	// ErrKnown: Add of a .mtorrent that is in the library.
	ErrKnown = errors.New("the .mtorrent is in the library already")
	// ErrUnknown: Update or Delete of a .mtorrent that is not in the library.
	ErrUnknown = errors.New("the .mtorrent is not in the library")
)

// Entry is one torrent that this client shares or gets.
type Entry struct {
	Mtorrent string         // the .mtorrent's absolute path: the key
	Path     string         // the shared file or the destination, absolute
	Name     string         // the filename in the .mtorrent; empty if it was recorded by an older mtor
	ID       torrentfmt.ID  // of the .mtorrent as it was when it was added
	Seq      uint64         // the order of adding, from 1; set by Add and kept by Update
	Whole    bool           // the file is complete under its final name
	Have     *bitset.BitSet // an unfinished download's pieces on disk; nil when Whole or not known
	Size     int64          // with ModTime, the file's mark when this was recorded; bytes
	ModTime  int64          // nanoseconds since 1970
	Paused   bool           // at rest until the user says otherwise
	// SeedRatio and SeedTime are when it has been seeded enough: times its size,
	// and how long; 0 for never. Sent, in bytes, and Seeded are how far that is.
	SeedRatio float64
	SeedTime  time.Duration
	Sent      int64
	Seeded    time.Duration
}

var (
	metaBucket    = []byte("meta")
	torrentBucket = []byte("torrents")
	formatKey     = []byte("format")
	stampKey      = []byte("stamp")
	learnedPrefix = "learned " // then the trackers that told, in the meta bucket
)

// Library is an open library. Its methods may be called concurrently.
type Library struct {
	db *bolt.DB

	mu    sync.Mutex // held while the stamp is written: stamps never go back
	stamp uint64
}

// Open opens the library in the state folder dir, which is made with mode 0700
// if there is none. Errors are ErrInUse,
// ErrDamaged, ErrNewer, or the file system's. Nothing that is refused is
// changed. A damaged file may stay mapped and locked until the process ends.
func Open(dir string) (*Library, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	l := &Library{}
	err := guard(func() error {
		var err error
		if l.db, err = openFile(path); err != nil {
			return err
		}
		return l.load()
	})
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if l.db != nil {
		_ = l.db.Close() // nothing was written
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// load reads everything once, so that damage shows at the start and not later.
func (l *Library) load() error {
	fresh, older := false, false
	err := l.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return fmt.Errorf("%w (no mtor library)", ErrDamaged)
			}
			fresh = true
			return nil
		}
		format, err := l.loadMeta(meta)
		if err != nil {
			return err
		}
		older = format < Format
		torrents := tx.Bucket(torrentBucket)
		if torrents == nil {
			return fmt.Errorf("%w (no torrents)", ErrDamaged)
		}
		return torrents.ForEach(func(k, v []byte) error {
			_, err := decodeEntry(k, v)
			return err
		})
	})
	switch {
	case err != nil:
		return err
	case fresh:
		return l.init()
	case older: // it differs in what an entry may say besides
		return l.db.Update(func(tx *bolt.Tx) error { return putNumber(tx.Bucket(metaBucket), formatKey, Format) })
	}
	return nil
}

func (l *Library) loadMeta(meta *bolt.Bucket) (format uint64, err error) {
	if format, err = number(meta, formatKey); err != nil {
		return 0, err
	}
	if format > Format {
		return 0, fmt.Errorf("%w (format %d, this one knows %d)", ErrNewer, format, Format)
	}
	if format == 0 {
		return 0, fmt.Errorf("%w (format)", ErrDamaged)
	}
	l.stamp, err = number(meta, stampKey)
	return format, err
}

func number(b *bolt.Bucket, key []byte) (uint64, error) {
	v := b.Get(key)
	if len(v) != 8 {
		return 0, fmt.Errorf("%w (%s)", ErrDamaged, key)
	}
	return binary.BigEndian.Uint64(v), nil
}

func putNumber(b *bolt.Bucket, key []byte, n uint64) error {
	return b.Put(key, binary.BigEndian.AppendUint64(nil, n))
}

func (l *Library) init() error {
	return l.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(torrentBucket); err != nil {
			return err
		}
		return errors.Join(
			putNumber(meta, formatKey, Format),
			putNumber(meta, stampKey, 0))
	})
}

// Stamp is the newest stamp that was recorded, 0 if none was.
func (l *Library) Stamp() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stamp
}

// SetStamp records a tracker's stamp if it is newer than the one recorded, and
// costs nothing otherwise.
func (l *Library) SetStamp(stamp uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stamp <= l.stamp {
		return nil
	}
	err := l.db.Update(func(tx *bolt.Tx) error { return putNumber(tx.Bucket(metaBucket), stampKey, stamp) })
	if err == nil {
		l.stamp = stamp
	}
	return err
}

// Learned are the further trackers that were recorded of a set of trackers.
func (l *Library) Learned(set string) []string {
	var learned []string
	_ = l.db.View(func(tx *bolt.Tx) error { // fails only on a closed library
		learned = strings.Fields(string(tx.Bucket(metaBucket).Get([]byte(learnedPrefix + set))))
		return nil
	})
	return learned
}

// SetLearned records further trackers of a set of trackers: addresses, which
// hold no spaces. The set's name is what Learned is asked for, of at most 32
// KiB.
func (l *Library) SetLearned(set string, learned []string) error {
	return l.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(metaBucket).Put([]byte(learnedPrefix+set), []byte(strings.Join(learned, " ")))
	})
}

// Add records a new torrent and sets its Seq. A .mtorrent that is there already
// is ErrKnown.
func (l *Library) Add(e *Entry) error {
	seq := uint64(0)
	err := l.change(e.Mtorrent, func(b *bolt.Bucket, old []byte) error {
		if old != nil {
			return ErrKnown
		}
		var err error
		if seq, err = b.NextSequence(); err != nil {
			return err
		}
		added := *e
		added.Seq = seq
		return put(b, &added)
	})
	if err == nil {
		e.Seq = seq
	}
	return err
}

// Update replaces what is recorded of a torrent, all but its Seq. A .mtorrent
// that is not there is ErrUnknown.
func (l *Library) Update(e Entry) error {
	return l.change(e.Mtorrent, func(b *bolt.Bucket, old []byte) error {
		if old == nil {
			return ErrUnknown
		}
		was, err := decodeEntry([]byte(e.Mtorrent), old)
		if err != nil {
			return err
		}
		e.Seq = was.Seq
		return put(b, &e)
	})
}

// Delete forgets a torrent. A .mtorrent that is not there is ErrUnknown.
func (l *Library) Delete(mtorrent string) error {
	return l.change(mtorrent, func(b *bolt.Bucket, old []byte) error {
		if old == nil {
			return ErrUnknown
		}
		return b.Delete([]byte(mtorrent))
	})
}

func (l *Library) change(mtorrent string, do func(b *bolt.Bucket, old []byte) error) error {
	err := l.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(torrentBucket)
		return do(b, b.Get([]byte(mtorrent)))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", mtorrent, err)
	}
	return nil
}

func put(b *bolt.Bucket, e *Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	v := encodeEntry(e)
	if old := b.Get([]byte(e.Mtorrent)); bytes.Equal(old, v) {
		return nil
	}
	return b.Put([]byte(e.Mtorrent), v)
}

// All is every torrent, in the order of adding.
func (l *Library) All() ([]Entry, error) {
	var all []Entry
	err := l.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(torrentBucket).ForEach(func(k, v []byte) error {
			e, err := decodeEntry(k, v)
			if err == nil {
				all = append(all, *e)
			}
			return err
		})
	})
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return all, err
}

// Close frees the file and its lock.
func (l *Library) Close() error { return l.db.Close() }
