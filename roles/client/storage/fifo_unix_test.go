//go:build unix

package storage

import (
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a FIFO would wait for its other end.
func TestFIFOsAreRefusedAtOnce(t *testing.T) {
	_, tor := content(1, 1)
	dir := t.TempDir()
	final, part := filepath.Join(dir, "final"), filepath.Join(dir, "part")
	must(t, syscall.Mkfifo(final, 0o644))
	must(t, syscall.Mkfifo(PartPath(part), 0o644))
	_, _, err := Create(t.Context(), tor, final, nil)
	wantOccupied(t, err, final)
	_, _, err = Create(t.Context(), tor, part, nil)
	wantOccupied(t, err, PartPath(part))
	_, err = Resume(t.Context(), tor, part, nil, nil, nil)
	wantOccupied(t, err, PartPath(part))
}
