package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// syncBytes is about what one commit of a few hundred rows writes.
	syncBytes = 64 << 10
	// syncPause lets the syncs be a small part of what the disk does meanwhile.
	syncPause = 10 * time.Millisecond
)

// diskMeanwhile measures until ctx ends how long the disk of the trackers'
// files takes to make a write durable, in milliseconds, while they use it: no
// sync lag is shorter, and a disk that others use decides its tail. It writes
// one place again and again, so that the file does not grow.
func (x *trackerBench) diskMeanwhile(ctx context.Context) (took []float64, err error) {
	f, err := os.CreateTemp(x.dir, "sync-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, syncBytes)
	tick := time.NewTicker(syncPause)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		binary.BigEndian.PutUint64(b, n)
		began := time.Now()
		if _, err := f.WriteAt(b, 0); err != nil {
			return took, err
		}
		if err := f.Sync(); err != nil {
			return took, err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return took, nil
		}
	}
}

const (
	bareKey    = 12 // bytes, as an entry of the seederlist file has
	bareValue  = 52
	bareCommit = 32_000 // rows
	bareFill   = 0.95
)

// bareStore measures how many rows a second bbolt alone makes durable, of the
// size of the registry's, in order, and as many with a commit as a tracker takes
// that catches up: without network, plan or tables, and without hash strings.
func (x *trackerBench) bareStore(ctx context.Context, rows int) (_ float64, err error) {
	path := filepath.Join(x.dir, "bare.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close(), os.Remove(path)) }()
	bucket := []byte("rows")
	began := time.Now()
	for at := 0; at < rows; at += bareCommit {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n := min(bareCommit, rows-at)
		values := make([]byte, n*bareValue)
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			b.FillPercent = bareFill
			var key [bareKey]byte
			for i := range n {
				binary.BigEndian.PutUint64(key[bareKey-8:], uint64(at+i))
				if err := b.Put(key[:], values[i*bareValue:(i+1)*bareValue]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return float64(rows) / time.Since(began).Seconds(), nil
}
