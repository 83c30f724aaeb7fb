//go:build !unix

package torrentfmt

// openNonblock is no flag at all where a path cannot lead to a FIFO.
const openNonblock = 0

// syncFolder does nothing: such systems write names through with the file, and
// cannot sync a folder.
func syncFolder(string) error { return nil }
