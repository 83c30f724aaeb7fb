package demo

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// pollEvery is how often the downloaders are asked how far they are.
const pollEvery = 100 * time.Millisecond

// standing is how far a downloader is.
type standing struct {
	name    string
	whole   bool
	percent int // 0 to 100, rounded down
}

// follow shows the downloaders' progress until enough says that it has seen
// enough.
func (d *demo) follow(ctx context.Context, enough func([]standing) bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		all := make([]standing, len(d.loaders))
		for i, n := range d.loaders {
			line, err := n.process.Ask(ctx, "show downloads")
			if err != nil {
				return err
			}
			if all[i], err = readStanding(line); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			all[i].name = n.name
		}
		done := enough(all)
		d.tell.progress(all, done)
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// percentage finds the share of bytes in a line of show downloads: the last
// one that a rate follows, for the name before it may hold anything.
var percentage = regexp.MustCompile(`^.* (\d{1,3})% [\d.]+ \w+/s `)

// readStanding reads one line of show downloads.
func readStanding(line string) (standing, error) {
	switch {
	case strings.HasPrefix(line, "[S] "):
		return standing{whole: true, percent: 100}, nil
	case strings.HasPrefix(line, "[D] "):
		var s standing
		if m := percentage.FindStringSubmatch(line); m != nil {
			s.percent, _ = strconv.Atoi(m[1]) // three digits at most
		}
		return s, nil
	}
	return standing{}, fmt.Errorf("it does not download: %s", line)
}
