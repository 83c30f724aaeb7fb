package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// aFile is the bytes of a closed seederlist of several pages and levels.
func aFile(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "sound.db")
	r, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	for i := range 600 {
		hashes := make([]byte, torrentfmt.HashSize)
		copy(hashes, fmt.Sprint(i))
		r.Announce(Announcement{
			Torrent: torrentfmt.HashID(hashes),
			Asker:   Asker{Addr: AddrOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 7)}), uint16(1000+i)))},
			Whole:   true,
			Info:    &Info{Name: fmt.Sprint("torrent ", i), Size: 5},
			Hashes:  hashes,
		}, func(_ Result, err error) { done <- err })
		if err := <-done; err != nil {
			tb.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Under the race detector this also shows that bbolt never meets a page that
// it would complain of in a goroutine of its own.
func TestFlippedBitsAreFoundBeforeBboltMeetsThem(t *testing.T) {
	sound := aFile(t)
	path := filepath.Join(t.TempDir(), "flipped.db")
	rnd := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 400 {
		data := append([]byte(nil), sound...)
		for range 1 + rnd.IntN(30) {
			data[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err == nil {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		refused++
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
			t.Errorf("%v", err)
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}
