package library

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/mtor-dev/mtor/roles/boltfile"
)

// guard turns what bbolt does about a broken file, which is to panic, and what
// it and boltfile say of one, into ErrDamaged.
func guard(do func() error) error {
	err := boltfile.Guard(do)
	var damage *boltfile.Damage
	if errors.As(err, &damage) {
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	for _, broken := range []error{boltfile.ErrForeign, berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum, berrors.ErrInvalidMapping} {
		if errors.Is(err, broken) {
			return fmt.Errorf("%w (%w)", ErrDamaged, err)
		}
	}
	return err
}

// openFile opens and locks the bbolt file.
func openFile(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout:      lockWait,
		FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			if err != nil {
				return nil, err
			}
			if _, err := boltfile.CheckFile(f); err != nil {
				_ = f.Close()
				return nil, err
			}
			return f, nil
		},
	})
}
