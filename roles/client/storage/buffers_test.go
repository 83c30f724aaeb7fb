package storage

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func TestBuffersArePageAlignedPiecesWithinTheBudget(t *testing.T) {
	b := NewBuffers(4*torrentfmt.PieceSize + 1)
	if b.Cap() != 4 || b.Free() != 4 {
		t.Fatalf("cap %d, free %d", b.Cap(), b.Free())
	}
	seen := map[*byte]bool{}
	for range 4 {
		buf, err := b.Get(t.Context())
		must(t, err)
		if len(buf) != torrentfmt.PieceSize || cap(buf) != torrentfmt.PieceSize || pageOffset(buf, os.Getpagesize()) != 0 || seen[&buf[0]] {
			t.Fatalf("buffer of %d, cap %d, at %p", len(buf), cap(buf), buf)
		}
		seen[&buf[0]] = true
	}
	if _, ok := b.TryGet(); ok || b.Free() != 0 {
		t.Fatal("the budget was passed")
	}
	if NewBuffers(0).Cap() != 1 {
		t.Fatal("a supply of nothing")
	}
}

func TestBufferReturnedLastIsHandedOutFirst(t *testing.T) {
	b := NewBuffers(3 * torrentfmt.PieceSize)
	x, _ := b.TryGet()
	y, _ := b.TryGet()
	b.Put(x)
	b.Put(y[:7]) // a short last piece
	first, _ := b.TryGet()
	second, _ := b.TryGet()
	if &first[0] != &y[0] || &second[0] != &x[0] || len(first) != torrentfmt.PieceSize {
		t.Fatal("not last in, first out")
	}
}

func TestGetWaitsForPutOrTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffers(1)
		held, _ := b.TryGet()
		got := make(chan []byte)
		go func() {
			buf, err := b.Get(context.Background())
			if err != nil {
				t.Error(err)
			}
			got <- buf
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("Get passed the budget")
		default:
		}
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, err := b.Get(ctx)
			failed <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatalf("Get ended with %v", err)
		}
		b.Put(held)
		if buf := <-got; &buf[0] != &held[0] {
			t.Fatal("another buffer")
		}
		b.Put(held)
		if _, err := b.Get(ctx); !errors.Is(err, context.Canceled) || b.Free() != 1 {
			t.Fatalf("Get under an ended context: %v, %d free", err, b.Free())
		}
	})
}

func TestBuffersAreNeverShared(t *testing.T) {
	b := NewBuffers(3 * torrentfmt.PieceSize)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 200 {
				buf, err := b.Get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				buf[0], buf[len(buf)-1] = byte(g), byte(g)
				if buf[0] != byte(g) || buf[len(buf)-1] != byte(g) {
					t.Error("somebody else writes here")
				}
				b.Put(buf)
			}
		})
	}
	wg.Wait()
	if b.Free() != 3 {
		t.Fatalf("%d buffers free, want 3", b.Free())
	}
}

func TestPutOfAForeignBufferPanics(t *testing.T) {
	for name, buf := range map[string][]byte{"foreign": make([]byte, 10), "one too many": make([]byte, torrentfmt.PieceSize)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			NewBuffers(torrentfmt.PieceSize).Put(buf)
		}()
	}
}
