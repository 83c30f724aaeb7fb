package watch

import (
	"maps"
	"slices"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// retryEvery is how long what has failed rests: the client may have been asked
// to fetch something that is in the way of something else for hours.
const retryEvery = time.Minute

// version tells whether a file is the one that it was.
type version struct {
	size int64
	mod  time.Time
}

// plan decides what to do about one folder, look after look. It is bookkeeping
// without I/O: what there is comes in, paths to act on go out.
type plan struct {
	seen   map[string]version // at the last look
	taken  map[string]version // handed to the client
	absent map[string]bool    // in the library, and not there at the last look
	tried  map[string]attempt // what has failed
}

// attempt is something that failed.
type attempt struct {
	of  version
	at  time.Time
	why string
}

func newPlan() *plan {
	return &plan{
		taken: map[string]version{}, absent: map[string]bool{}, tried: map[string]attempt{},
	}
}

// look takes what a folder holds and what the library has from it, both by path,
// and returns what to get and what to remove. A file is taken when two looks
// have found it the same: until then it may be being written. In the same way
// two looks must have missed one before it counts as gone.
func (p *plan) look(found map[string]version, known map[string]control.State, now time.Time) (get, remove []string) {
	for path, is := range found {
		if was, ok := p.seen[path]; !ok || was != is {
			continue
		}
		state, in := known[path]
		if p.taken[path] == is && in && state != control.Failed && state != control.Missing {
			continue
		}
		if p.rests(path, is, now) {
			continue
		}
		get = append(get, path)
	}
	absent := map[string]bool{}
	for path := range known {
		if _, ok := found[path]; ok {
			continue
		}
		absent[path] = true
		if p.absent[path] && !p.rests(path, version{}, now) {
			remove = append(remove, path)
		}
	}
	p.seen, p.absent = found, absent
	gone := func(path string) bool { _, there := found[path]; return !there && !absent[path] }
	maps.DeleteFunc(p.taken, func(path string, _ version) bool { return gone(path) })
	maps.DeleteFunc(p.tried, func(path string, _ attempt) bool { return gone(path) })
	slices.Sort(get)
	slices.Sort(remove)
	return get, remove
}

func (p *plan) rests(path string, is version, now time.Time) bool {
	t, failed := p.tried[path]
	return failed && t.of == is && now.Sub(t.at) < retryEvery
}

// done notes how what look returned has ended, and reports whether a failure is
// news.
func (p *plan) done(path string, err error, now time.Time) (news bool) {
	is := p.seen[path] // none for one that was removed
	if err == nil {
		delete(p.tried, path)
		p.taken[path] = is
		return false
	}
	last, again := p.tried[path]
	p.tried[path] = attempt{of: is, at: now, why: err.Error()}
	return !again || last.of != is || last.why != err.Error()
}
