package announce

import (
	"context"
	"errors"
	"os"
)

// cause is what all that err joins have in common at their ends: why no tracker
// can be reached, where there is but one reason. It is nil where there are
// several, or where all that is known is that time has run out.
func cause(err error) error {
	var found error
	for _, end := range ends(err) {
		switch {
		case errors.Is(end, context.DeadlineExceeded), errors.Is(end, os.ErrDeadlineExceeded):
			return nil
		case found != nil && found.Error() != end.Error():
			return nil
		}
		found = end
	}
	return found
}

// ends are the errors below err that wrap no other.
func ends(err error) []error {
	switch e := err.(type) { //nolint:errorlint // the tree itself is walked
	case interface{ Unwrap() []error }:
		var all []error
		for i, below := range e.Unwrap() {
			if i == 0 && below.Error() == err.Error() {
				return ends(below) // the others are not to be read, as crypto/tls adds an alert
			}
			all = append(all, ends(below)...)
		}
		return all
	case interface{ Unwrap() error }:
		if below := e.Unwrap(); below != nil {
			return ends(below)
		}
	}
	return []error{err}
}
