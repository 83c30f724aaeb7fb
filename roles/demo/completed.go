package demo

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// completion is what a client logs about a download that is done.
type completion struct {
	bytes   int64   // fetched
	seconds float64 // from the get to the last byte on disk
	from    []source
}

// source is one peer that sent pieces.
type source struct {
	scheme, addr string
	pieces       int
}

const completeMsg = "download complete"

// completed finds the record of the completed download in a client's log file.
func completed(log string) (completion, error) {
	f, err := os.Open(log)
	if err != nil {
		return completion{}, err
	}
	defer f.Close()
	return readCompletion(f)
}

func readCompletion(log io.Reader) (completion, error) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		record := attributes(lines.Text())
		if record["msg"] == completeMsg {
			return parseCompletion(record)
		}
	}
	if err := lines.Err(); err != nil {
		return completion{}, err
	}
	return completion{}, fmt.Errorf("no record %q in the log", completeMsg)
}

func parseCompletion(record map[string]string) (c completion, err error) {
	if c.bytes, err = strconv.ParseInt(record["bytes"], 10, 64); err != nil {
		return c, fmt.Errorf("record %q: bytes: %w", completeMsg, err)
	}
	if c.seconds, err = strconv.ParseFloat(record["seconds"], 64); err != nil {
		return c, fmt.Errorf("record %q: seconds: %w", completeMsg, err)
	}
	for part := range strings.SplitSeq(record["from"], ", ") {
		if part == "" {
			continue
		}
		who, count, _ := strings.Cut(part, "=")
		scheme, addr, ok := strings.Cut(who, " ")
		n, err := strconv.Atoi(count)
		if !ok || err != nil {
			return c, fmt.Errorf("record %q: from: %q", completeMsg, part)
		}
		c.from = append(c.from, source{scheme, addr, n})
	}
	return c, nil
}

// attributes reads a line that slog's text handler wrote: key=value, both
// quoted as Go does where they hold anything special. What does not fit ends
// the reading.
func attributes(line string) map[string]string {
	m := map[string]string{}
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		key, rest, ok := token(line, "=")
		if !ok || !strings.HasPrefix(rest, "=") {
			break
		}
		value, rest, ok := token(rest[1:], " ")
		if !ok {
			break
		}
		m[key], line = value, rest
	}
	return m
}

// token takes a quoted string, or everything up to end, off the front of s.
func token(s, end string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.Index(s, end); i >= 0 {
			return s[:i], s[i:], true
		}
		return s, "", true
	}
	q, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", false
	}
	text, err = strconv.Unquote(q)
	return text, s[len(q):], err == nil
}
