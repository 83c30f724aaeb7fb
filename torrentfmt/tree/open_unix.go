//go:build unix

package tree

import "syscall"

// openNonblock lets open(2) return at once should the path lead to a FIFO.
const openNonblock = syscall.O_NONBLOCK
