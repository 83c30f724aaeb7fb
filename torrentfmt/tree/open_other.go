//go:build !unix

package tree

// openNonblock is no flag at all where a path cannot lead to a FIFO.
const openNonblock = 0
