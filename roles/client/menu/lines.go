package menu

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxLine bounds a command in bytes: two paths of 4096 bytes (PATH_MAX of
// Linux) with every byte escaped fit twice.
const MaxLine = 32 << 10

var errLong = fmt.Errorf("longer than %d bytes", MaxLine)

// line is one line of input, or why there is none: errLong for one that was
// skipped, else the reader's error (io.EOF at the end).
type line struct {
	text string
	err  error
}

// readLines sends each line of r, without its "\n" or "\r\n", and last the
// error that ended them, unless done is closed before. A last line without an
// end counts.
//
// A read of standard input cannot be cancelled, so this goroutine may outlive
// Run by one blocked read; it ends with the input or the process, and touches
// nothing of Run's but the channel.
func readLines(r io.Reader, out chan<- line, done <-chan struct{}) {
	send := func(l line) bool {
		select {
		case out <- l:
			return true
		case <-done:
			return false
		}
	}
	in := bufio.NewReaderSize(r, MaxLine+len("\r\n"))
	for {
		text, err := readLine(in)
		if errors.Is(err, errLong) || text != "" || err == nil {
			l := line{text: text}
			if errors.Is(err, errLong) {
				l, err = line{err: errLong}, nil
			}
			if !send(l) {
				return
			}
		}
		if err != nil {
			send(line{err: err})
			return
		}
	}
}

// readLine returns the next line, errLong after skipping a longer one, or what
// stands before the end of input together with its error.
func readLine(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice('\n')
	long := false
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = in.ReadSlice('\n')
	}
	if long {
		return "", errLong
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if len(text) > MaxLine {
		return "", errLong
	}
	return text, err
}
