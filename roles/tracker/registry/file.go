package registry

import (
	"errors"
	"fmt"

	"github.com/mtor-dev/mtor/roles/boltfile"
)

// Why a seederlist file cannot be used. None of them changes the file.
var (
	ErrInUse   = errors.New("in use by another process: stop that tracker, or give this one its own file")
	ErrForeign = errors.New("not a seederlist file: give another path")
	ErrDamaged = errors.New("damaged: move it away, and the tracker refills from the others")
	ErrVersion = errors.New("written by another version of mtor")
)

// refused tells in this package's words why boltfile refused a file.
func refused(err error) error {
	var damage *boltfile.Damage
	switch {
	case errors.As(err, &damage):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case errors.Is(err, boltfile.ErrForeign):
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return err
}

// guarded is boltfile.Guard in this package's words.
func guarded(do func() error) error { return refused(boltfile.Guard(do)) }
