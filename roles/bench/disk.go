package bench

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	// syncBytes is about what one commit of a few hundred rows writes.
	syncBytes = 64 << 10
	// syncPause keeps the bare syncs as far apart as commits under a fixed
	// load are.
	syncPause = 2 * time.Millisecond
)

// disk measures how long the disk alone takes to make a write durable: no sync
// lag is shorter, and a disk that others use decides its tail.
func (x *trackerBench) disk(ctx context.Context) (err error) {
	x.say("disk ...")
	f, err := os.CreateTemp(x.dir, "sync-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, syncBytes)
	var took []float64
	for end := time.Now().Add(x.Duration); time.Now().Before(end); {
		if _, err := f.Write(b); err != nil {
			return err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		select {
		case <-time.After(syncPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	x.add(Figure{Name: "  the disk alone, a sync of 64 KiB, half", Value: percentile(took, 50), Unit: "ms"})
	x.add(Figure{Name: "  the disk alone, 99 of 100", Value: percentile(took, 99), Unit: "ms"})
	return nil
}
