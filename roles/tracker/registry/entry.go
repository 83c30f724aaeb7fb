package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// Addr is a client's address, packed: 16 bytes of IP (IPv4 mapped into IPv6),
// then the port, big endian.
type Addr [18]byte

// AddrOf packs a; its zone is dropped.
func AddrOf(a netip.AddrPort) Addr {
	var p Addr
	ip := a.Addr().As16()
	copy(p[:], ip[:])
	binary.BigEndian.PutUint16(p[16:], a.Port())
	return p
}

// AddrPort unpacks a; IPv4 comes out as IPv4.
func (a Addr) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[:16])).Unmap(), binary.BigEndian.Uint16(a[16:]))
}

// String is the address as "ip:port".
func (a Addr) String() string { return a.AddrPort().String() }

// Kind says which register an [Entry] writes.
type Kind uint8

// The values are stored and sent: they never change meaning.
const (
	// KindRow: whether a client is listed for a torrent. The last writer wins.
	KindRow Kind = 1
	// KindHome: the tracker that a client last announced or renewed at, which
	// alone may expire it. The last writer wins.
	KindHome Kind = 2
	// KindFloor: every row of a client with a stamp below the entry's own is
	// gone. The highest wins.
	KindFloor Kind = 3
	// KindTorrent: filename and size of a torrent. The first writer wins, so
	// that a name does not change under those who know it. The hash string is
	// kept beside the entries, since the torrent ID proves any copy of it.
	KindTorrent Kind = 4
)

// known reports whether this program knows what entries of the kind write.
// Others are kept, passed on and never superseded.
func (k Kind) known() bool { return k >= KindRow && k <= KindTorrent }

// Entry is one change to one register. Which fields count depends on Kind.
type Entry struct {
	Dot   Dot
	Stamp Stamp
	Kind  Kind

	Torrent torrentfmt.ID // row, torrent
	Addr    Addr          // row, home, floor
	Whole   bool          // row: the client has every piece
	Gone    bool          // row: the client is not listed
	Node    NodeID        // home
	Owner   NodeID        // home: the node that the client has proven to be; zero: it has proven nothing
	Name    string        // torrent: filename
	Size    int64         // torrent: bytes
	List    int           // torrent: bytes of a folder's list of files, behind the hash string

	// Extra is what a newer program said besides, at most MaxExtra bytes of
	// protobuf fields; of an unknown kind, all that it said.
	Extra []byte
}

// MaxExtra bounds Extra, in bytes.
const MaxExtra = 4096

// key names a register.
type key struct {
	kind    Kind
	torrent torrentfmt.ID
	addr    Addr
}

func (e *Entry) key() key {
	k := key{kind: e.Kind}
	if e.Kind == KindRow || e.Kind == KindTorrent {
		k.torrent = e.Torrent
	}
	if e.Kind != KindTorrent {
		k.addr = e.Addr
	}
	return k
}

// beats reports whether e, written to the same register as f, is the one that
// stays. It is a total order of dots, so every tracker picks the same.
func (e *Entry) beats(f *Entry) bool {
	c := 0
	switch {
	case e.Stamp != f.Stamp:
		c = -1
		if e.Stamp > f.Stamp {
			c = 1
		}
	default:
		if c = e.Dot.Origin.compare(f.Dot.Origin); c == 0 && e.Dot.Seq != f.Dot.Seq {
			c = -1
			if e.Dot.Seq > f.Dot.Seq {
				c = 1
			}
		}
	}
	if e.Kind == KindTorrent {
		c = -c
	}
	return c > 0
}

var errEntry = errors.New("bad entry")

// Check reports what makes e impossible, whoever wrote it.
func (e *Entry) Check() error {
	if e.Dot.Seq == 0 || e.Dot.Seq > maxSeq {
		return fmt.Errorf("%w: sequence number %d", errEntry, e.Dot.Seq)
	}
	if e.Stamp == 0 || e.Stamp > maxStamp {
		return fmt.Errorf("%w: stamp %d", errEntry, e.Stamp)
	}
	if len(e.Extra) > MaxExtra {
		return fmt.Errorf("%w: %d bytes of unknown fields", errEntry, len(e.Extra))
	}
	switch e.Kind {
	case 0:
		return fmt.Errorf("%w: no kind", errEntry)
	case KindTorrent:
		if len(e.Name) > torrentfmt.MaxNameLen {
			return fmt.Errorf("%w: filename of %d bytes", errEntry, len(e.Name))
		}
		if e.Size < 0 || e.Size > torrentfmt.MaxSize || torrentfmt.NumPieces(e.Size) > torrentfmt.MaxPieces {
			return fmt.Errorf("%w: file of %d bytes", errEntry, e.Size)
		}
		if e.List < 0 || e.List > torrentfmt.MaxListLen {
			return fmt.Errorf("%w: list of files of %d bytes", errEntry, e.List)
		}
		if strings.IndexByte(e.Name, 0) >= 0 {
			return fmt.Errorf("%w: filename with a zero byte", errEntry)
		}
	}
	return nil
}

// maxSeq leaves room for the two flags that the tables pack with it.
const maxSeq = 1<<62 - 1
