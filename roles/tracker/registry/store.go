package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mtor-dev/mtor/roles/boltfile"
	"github.com/mtor-dev/mtor/torrentfmt"
)

const (
	storeMagic = "mtor seederlist"
	// storeVersion 1 has no buckets for members and for what was dropped, and
	// is upgraded when it is opened.
	storeVersion = 2
	// lockWait is how long a second tracker waits for the file of the first:
	// enough for one that is just stopping.
	lockWait = 2 * time.Second
	// readStep bounds the entries read in one transaction, so that none keeps
	// old pages, or a writer that must grow the map, waiting.
	readStep = 4096
	// chunkSize cuts hash strings, so that no transaction becomes large.
	chunkSize = 512 << 10
	// appendFill leaves little room in pages that are written at their right
	// edge only.
	appendFill = 0.95
)

var (
	bucketMeta    = []byte("mtor")    // magic, version, node
	bucketOrigins = []byte("origins") // number -> origin
	bucketVector  = []byte("vector")  // origin number -> sequence number
	bucketEntries = []byte("entries") // see codec.go
	bucketHashes  = []byte("hashes")  // torrent, chunk number -> bytes, CRC32C
	bucketMembers = []byte("members") // node -> 1 known, 2 forgotten
	bucketDropped = []byte("dropped") // origin number -> sequence number

	keyMagic   = []byte("magic")
	keyVersion = []byte("version")
	keyNode    = []byte("node")
	keyClock   = []byte("clock") // no stamp above it has been dropped
)

const (
	memberKnown     = 1
	memberForgotten = 2
)

// store is the seederlist file: one bbolt file.
type store struct {
	db      *bolt.DB
	path    string
	node    NodeID
	version uint32 // as the file was found
	origins int    // how many origins the file knows
	arena   []byte
}

func openStore(path string, node NodeID) (*store, error) {
	created, err := boltfile.Check(path)
	if err != nil {
		return nil, fmt.Errorf("seederlist file %s: %w", path, refused(err))
	}
	if !created {
		if err := walk(path); err != nil {
			return nil, fmt.Errorf("seederlist file %s: %w", path, err)
		}
	}
	s := &store{path: path}
	if s.db, err = openBolt(path, false); err != nil {
		return nil, fmt.Errorf("seederlist file %s: %w", path, err)
	}
	if err := guarded(func() error { return s.identify(node) }); err != nil {
		_ = s.db.Close()
		return nil, fmt.Errorf("seederlist file %s: %w", path, err)
	}
	if created {
		syncDir(filepath.Dir(path))
	}
	return s, nil
}

func openBolt(path string, readOnly bool) (db *bolt.DB, err error) {
	err = guarded(func() error {
		var err error
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:        lockWait,
			ReadOnly:       readOnly,
			NoFreelistSync: true, // the free pages are found anew when opening
			FreelistType:   bolt.FreelistMapType,
			NoStatistics:   true,
		})
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrInUse
	}
	return db, err
}

// walk checks every page of the file before bbolt looks for the free ones,
// with the lock held, so that nobody writes meanwhile.
func walk(path string) error {
	db, err := openBolt(path, true)
	if err != nil {
		return err
	}
	return errors.Join(refused(boltfile.CheckPages(path)), db.Close())
}

// syncDir makes a file's creation durable where the system can.
func syncDir(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = d.Sync() // refused on Windows, where creation needs no such thing
	_ = d.Close()
}

var errEmpty = errors.New("an empty file")

// check makes sure that the file is a seederlist of a known version, and reads
// its node ID. The error is errEmpty if nothing is in it.
func (s *store) check() error {
	return s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return fmt.Errorf("%w: a bbolt file of another program", ErrForeign)
			}
			return errEmpty
		}
		if string(meta.Get(keyMagic)) != storeMagic {
			return fmt.Errorf("%w: a bbolt file of another program", ErrForeign)
		}
		v := meta.Get(keyVersion)
		if len(v) != 4 {
			return fmt.Errorf("%w: no version", ErrDamaged)
		}
		s.version = binary.BigEndian.Uint32(v)
		if s.version < 1 || s.version > storeVersion {
			return fmt.Errorf("%w: format %d, this program writes %d", ErrVersion, s.version, storeVersion)
		}
		node := meta.Get(keyNode)
		if len(node) != nodeIDSize {
			return fmt.Errorf("%w: no node ID", ErrDamaged)
		}
		s.node = NodeID(node)
		need := [][]byte{bucketOrigins, bucketVector, bucketEntries, bucketHashes}
		if s.version >= 2 {
			need = append(need, bucketMembers, bucketDropped)
		}
		for _, b := range need {
			if tx.Bucket(b) == nil {
				return fmt.Errorf("%w: bucket %s is missing", ErrDamaged, b)
			}
		}
		return nil
	})
}

// identify checks the file, makes it node's seederlist if it is empty, and
// brings it to this program's version.
func (s *store) identify(node NodeID) error {
	err := s.check()
	empty := errors.Is(err, errEmpty)
	if err != nil && !empty || err == nil && s.version == storeVersion {
		return err
	}
	if empty {
		s.node = node
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bucketMeta, bucketOrigins, bucketVector, bucketEntries, bucketHashes, bucketMembers, bucketDropped} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put(keyMagic, []byte(storeMagic)),
			meta.Put(keyVersion, binary.BigEndian.AppendUint32(nil, storeVersion)),
			meta.Put(keyNode, s.node[:]))
	})
}

func (s *store) close() error { return s.db.Close() }

// load fills an empty core from the file.
func (s *store) load(c *core) error {
	return guarded(func() error {
		if err := s.loadOrigins(c); err != nil {
			return err
		}
		for n := range c.origins {
			for from, more := uint64(0), true; more; {
				var err error
				from, more, err = s.after(uint32(n), from, maxSeq, func(e Entry) bool {
					e.Dot.Origin = c.origins[n]
					c.admit(&e)
					return true
				})
				if err != nil {
					return fmt.Errorf("%w: %w", ErrDamaged, err)
				}
			}
		}
		return nil
	})
}

func (s *store) loadOrigins(c *core) error {
	return s.db.View(func(tx *bolt.Tx) error {
		err := tx.Bucket(bucketOrigins).ForEach(func(k, v []byte) error {
			if len(k) != 4 || len(v) != OriginSize || binary.BigEndian.Uint32(k) != uint32(len(c.origins)) {
				return fmt.Errorf("%w: origin %x", ErrDamaged, k)
			}
			c.number(Origin(v))
			return nil
		})
		if err != nil {
			return err
		}
		s.origins = len(c.origins)
		if err := loadByOrigin(tx.Bucket(bucketVector), c.have); err != nil || s.version < 2 {
			return err
		}
		if v := tx.Bucket(bucketMeta).Get(keyClock); len(v) == 8 {
			c.clock.observe(min(Stamp(binary.BigEndian.Uint64(v)), maxStamp))
		}
		return errors.Join(loadByOrigin(tx.Bucket(bucketDropped), c.dropped), s.loadMembers(tx, c))
	})
}

// loadByOrigin reads a bucket of sequence numbers by origin number.
func loadByOrigin(b *bolt.Bucket, into []uint64) error {
	return b.ForEach(func(k, v []byte) error {
		if len(k) != 4 || len(v) != 8 || int(binary.BigEndian.Uint32(k)) >= len(into) {
			return fmt.Errorf("%w: %x in a vector", ErrDamaged, k)
		}
		into[binary.BigEndian.Uint32(k)] = binary.BigEndian.Uint64(v)
		return nil
	})
}

func (s *store) loadMembers(tx *bolt.Tx, c *core) error {
	return tx.Bucket(bucketMembers).ForEach(func(k, v []byte) error {
		if len(k) != nodeIDSize || len(v) != 1 || v[0] != memberKnown && v[0] != memberForgotten {
			return fmt.Errorf("%w: member %x", ErrDamaged, k)
		}
		m := c.memberOf(NodeID(k))
		m.recorded, m.forgotten = true, v[0] == memberForgotten
		return nil
	})
}

// commit makes a batch durable, together with the removal of dead entries.
func (s *store) commit(c *core, b *batch, dead []dotRef) error {
	s.arena = s.arena[:0]
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	if err := s.fill(tx, c, b, dead); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// cut takes what was appended to the arena since start; bbolt keeps values by
// reference until the commit.
func (s *store) cut(start int) []byte { return s.arena[start:len(s.arena):len(s.arena)] }

func (s *store) fill(tx *bolt.Tx, c *core, b *batch, dead []dotRef) error {
	if err := s.fillChunks(tx, b); err != nil {
		return err
	}
	entries := tx.Bucket(bucketEntries)
	entries.FillPercent = appendFill
	var key [keySize]byte
	var err error
	b.lasting(func(e *Entry) {
		k := dotRef{c.number(e.Dot.Origin), e.Dot.Seq}.appendKey(key[:0])
		start := len(s.arena)
		s.arena = appendValue(s.arena, k, e)
		if err == nil {
			err = entries.Put(k, s.cut(start))
		}
	})
	if err != nil {
		return err
	}
	if err := s.fillDrops(tx, c, b); err != nil {
		return err
	}
	for _, d := range dead {
		if err := entries.Delete(d.appendKey(key[:0])); err != nil {
			return err
		}
	}
	vector := tx.Bucket(bucketVector)
	for o, n := range b.spans {
		start := len(s.arena)
		s.arena = binary.BigEndian.AppendUint64(s.arena, n)
		if err := vector.Put(binary.BigEndian.AppendUint32(key[:0], c.number(o)), s.cut(start)); err != nil {
			return err
		}
	}
	members := tx.Bucket(bucketMembers)
	for n, forgotten := range b.members {
		state := []byte{memberKnown}
		if forgotten {
			state[0] = memberForgotten
		}
		if err := members.Put(n[:], state); err != nil {
			return err
		}
	}
	origins := tx.Bucket(bucketOrigins)
	for ; s.origins < len(c.origins); s.origins++ {
		o := c.origins[s.origins]
		if err := origins.Put(binary.BigEndian.AppendUint32(key[:0], uint32(s.origins)), o[:]); err != nil {
			return err
		}
	}
	return nil
}

// fillDrops removes what the batch drops and keeps what must be remembered of
// it: how far it went, for those that do not know, and the clock, so that no
// later change gets an older stamp.
func (s *store) fillDrops(tx *bolt.Tx, c *core, b *batch) error {
	if len(b.drops) == 0 && len(b.raises) == 0 {
		return nil
	}
	raised := map[uint32]bool{}
	entries := tx.Bucket(bucketEntries)
	for _, d := range b.drops {
		raised[d.ref.origin] = true
		if err := entries.Delete(d.ref.appendKey(nil)); err != nil {
			return err
		}
	}
	for o := range b.raises {
		raised[c.number(o)] = true
	}
	dropped := tx.Bucket(bucketDropped)
	for n := range raised {
		v := binary.BigEndian.AppendUint64(nil, c.dropped[n])
		if err := dropped.Put(binary.BigEndian.AppendUint32(nil, n), v); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(keyClock, binary.BigEndian.AppendUint64(nil, uint64(c.clock.last)))
}

func (s *store) fillChunks(tx *bolt.Tx, b *batch) error {
	hashes := tx.Bucket(bucketHashes)
	for _, ch := range b.chunks {
		k := chunkKey(ch.torrent, ch.index)
		v := make([]byte, 0, len(ch.data)+crcSize)
		if err := hashes.Put(k, appendCRC(append(v, ch.data...), k, 0)); err != nil {
			return err
		}
	}
	return nil
}

func chunkKey(id torrentfmt.ID, index uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, len(id)+4), id[:]...), index)
}

// after implements source.
func (s *store) after(origin uint32, from, upto uint64, visit func(Entry) bool) (next uint64, more bool, err error) {
	next = from
	if from >= upto {
		return next, false, nil
	}
	err = s.db.View(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketEntries).Cursor()
		steps := 0
		for k, v := cur.Seek(dotRef{origin, from + 1}.appendKey(nil)); k != nil; k, v = cur.Next() {
			ref, err := decodeKey(k)
			if err != nil {
				return err
			}
			if ref.origin != origin || ref.seq > upto {
				return nil
			}
			if steps++; steps > readStep {
				more = true
				return nil
			}
			e, err := decodeValue(k, v)
			if err != nil {
				return fmt.Errorf("entry %d: %w", ref.seq, err)
			}
			next = ref.seq
			if !visit(e) {
				more = true
				return nil
			}
		}
		return nil
	})
	return next, more, err
}

// hashChunk reads one chunk of a hash string.
func (s *store) hashChunk(id torrentfmt.ID, index uint32) ([]byte, error) {
	k := chunkKey(id, index)
	var out []byte
	err := s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketHashes).Get(k)
		if v == nil {
			return fmt.Errorf("hash string of %v: chunk %d is missing", id, index)
		}
		data, err := cutCRC(k, v)
		if err != nil {
			return fmt.Errorf("hash string of %v, chunk %d: %w", id, index, err)
		}
		out = append(out, data...)
		return nil
	})
	return out, err
}
