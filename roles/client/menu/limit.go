package menu

import (
	"context"
	"fmt"

	"github.com/mtor-dev/mtor/roles/client/control"
	"github.com/mtor-dev/mtor/units"
)

const limitUsage = "limit [<filename.mtorrent>] [up RATE] [down RATE]"

// limitCommand reads what limit is for: a torrent, if the first word is neither
// up nor down, and then each direction with its rate.
func limitCommand(c command) (command, error) {
	fail := func(format string, args ...any) (command, error) {
		return command{}, &commandError{what: c.verb, why: fmt.Sprintf(format, args...)}
	}
	args := c.args
	c.args = nil
	if len(args) > 0 && args[0] != "up" && args[0] != "down" {
		if args[0] == "" {
			return fail("<filename.mtorrent> is empty")
		}
		c.limited, args = args[0], args[1:]
	}
	for ; len(args) > 0; args = args[2:] {
		limit := &c.limits.Up
		switch args[0] {
		case "up":
		case "down":
			limit = &c.limits.Down
		default:
			return fail("want %q, got %q", limitUsage, args[0])
		}
		if *limit != nil {
			return fail("%s is given twice", args[0])
		}
		if len(args) == 1 {
			return fail("%s lacks its rate, such as 20MB, 1MiB or none", args[0])
		}
		rate, err := units.ParseRate(args[1])
		if err != nil {
			return fail("%s %v", args[0], err)
		}
		n := int64(rate)
		*limit = &n
	}
	return c, nil
}

func (s *session) limit(ctx context.Context, mtorrent string, change control.LimitChange) {
	l, err := s.API.SetLimits(ctx, mtorrent, change)
	if err != nil {
		s.failed(ctx, "limit", err)
		return
	}
	s.answer("%s", limitLine(l))
}

func limitLine(l control.Limits) string {
	what := "all torrents together"
	if l.Name != "" {
		what = Printable(l.Name)
	}
	return fmt.Sprintf("limit of %s: up %s, down %s", what, units.Rate(l.Up), units.Rate(l.Down))
}
