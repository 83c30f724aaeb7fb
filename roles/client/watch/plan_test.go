package watch

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtor-dev/mtor/roles/client/control"
)

type (
	files = map[string]version
	known = map[string]control.State
)

var start = time.Unix(1_000_000, 0)

func ver(size int64) version { return version{size, start} }

func expect(t *testing.T, p *plan, found files, in known, now time.Time, get, remove []string) {
	t.Helper()
	g, r := p.look(found, in, now)
	if !cmp.Equal(g, get) || !cmp.Equal(r, remove) {
		t.Errorf("get %q, remove %q: want %q, %q", g, r, get, remove)
	}
}

func TestAFileIsTakenOnceItNoLongerChanges(t *testing.T) {
	p := newPlan()
	expect(t, p, files{"a": ver(1)}, nil, start, nil, nil)
	expect(t, p, files{"a": ver(2), "b": ver(1)}, nil, start, nil, nil)
	expect(t, p, files{"a": ver(2), "b": ver(1)}, nil, start, []string{"a", "b"}, nil)
	p.done("a", nil, start)
	p.done("b", nil, start)
	in := known{"a": control.Downloading, "b": control.Seeding}
	expect(t, p, files{"a": ver(2), "b": ver(1)}, in, start, nil, nil)
}

func TestAFileThatWasReplacedIsHandedOverAgain(t *testing.T) {
	p := newPlan()
	in := known{"a": control.Seeding}
	p.look(files{"a": ver(1)}, in, start)
	expect(t, p, files{"a": ver(1)}, in, start, []string{"a"}, nil) // once at every start: the client knows it
	p.done("a", nil, start)
	expect(t, p, files{"a": ver(2)}, in, start, nil, nil)
	expect(t, p, files{"a": ver(2)}, in, start, []string{"a"}, nil)
}

func TestWhatFailedRestsAndIsToldOnce(t *testing.T) {
	p := newPlan()
	bad := errors.New("bad")
	p.look(files{"a": ver(1)}, nil, start)
	expect(t, p, files{"a": ver(1)}, nil, start, []string{"a"}, nil)
	if !p.done("a", bad, start) {
		t.Error("a first failure is no news")
	}
	expect(t, p, files{"a": ver(1)}, nil, start.Add(retryEvery-1), nil, nil)
	later := start.Add(retryEvery)
	expect(t, p, files{"a": ver(1)}, nil, later, []string{"a"}, nil)
	if p.done("a", bad, later) {
		t.Error("the same failure is told twice")
	}
	if !p.done("a", errors.New("worse"), later) {
		t.Error("another failure is not told")
	}
	// A file that was mended does not rest.
	p.look(files{"a": ver(2)}, nil, later)
	expect(t, p, files{"a": ver(2)}, nil, later, []string{"a"}, nil)
}

func TestAFailedOrMissingDownloadIsTriedAgain(t *testing.T) {
	for _, state := range []control.State{control.Failed, control.Missing} {
		p := newPlan()
		p.look(files{"a": ver(1)}, nil, start)
		p.look(files{"a": ver(1)}, nil, start)
		p.done("a", nil, start)
		expect(t, p, files{"a": ver(1)}, known{"a": state}, start, []string{"a"}, nil)
	}
}

func TestWhatTwoLooksMissIsRemoved(t *testing.T) {
	p := newPlan()
	in := known{"a": control.Seeding, "b": control.Seeding}
	expect(t, p, files{"b": ver(1)}, in, start, nil, nil)
	expect(t, p, files{"a": ver(1), "b": ver(1)}, in, start, []string{"b"}, nil) // it was away for a moment
	expect(t, p, files{"b": ver(1)}, in, start, []string{"b"}, nil)
	expect(t, p, files{"b": ver(1)}, in, start, []string{"b"}, []string{"a"})
	if !p.done("a", errors.New("still downloading"), start) {
		t.Error("a refused removal is not told")
	}
	expect(t, p, files{}, in, start, nil, nil) // it rests
	expect(t, p, files{}, in, start.Add(retryEvery), nil, []string{"a", "b"})
	p.done("a", nil, start)
	p.done("b", nil, start)
	p.look(files{}, nil, start)
	if len(p.taken)+len(p.tried)+len(p.absent)+len(p.seen) != 0 {
		t.Errorf("what is gone is remembered: %+v", p)
	}
}
