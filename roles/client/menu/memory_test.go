package menu

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

// memory is a control.API whose disk and network are maps: files that can be
// shared, and .mtorrent files with the fate of their downloads.
type memory struct {
	mu      sync.Mutex
	files   map[string]int64           // path -> size
	remote  map[string]remote          // path of a .mtorrent
	list    []*control.Download        // in the order of adding
	changed chan struct{}              // closed and made anew at each change
	hashing func(report func(n int64)) // stands for reading a file; may be nil
	quits   int
	limits  map[string]control.Limits // by name
}

// remote is a torrent that others share.
type remote struct {
	name string
	size int64
	fate string // "complete" at once, "stuck" with 3 pieces, "whole" on this disk already, or why it fails
}

var _ control.API = (*memory)(nil)

func newMemory() *memory {
	return &memory{files: map[string]int64{}, remote: map[string]remote{}, limits: map[string]control.Limits{}, changed: make(chan struct{})}
}

func (m *memory) add(d control.Download) control.Download {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, &d)
	return d
}

// change edits the download with the given name and wakes those who wait.
func (m *memory) change(name string, edit func(*control.Download)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.list {
		if d.Name == name {
			edit(d)
		}
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) Share(ctx context.Context, file, mtorrent string, progress func(done, total int64)) (control.Download, error) {
	size, ok := m.files[file]
	if !ok {
		return control.Download{}, fmt.Errorf("share %s: no such file", file)
	}
	if m.hashing != nil {
		m.hashing(func(n int64) {
			if progress != nil {
				progress(n, size)
			}
		})
	}
	if err := ctx.Err(); err != nil {
		return control.Download{}, err
	}
	d := control.Download{Name: path.Base(file), Path: file, Mtorrent: path.Join("/lib", mtorrent), State: control.Seeding, Size: size, Done: size}
	if d.Name == "lonely.iso" {
		d.Note = "no tracker answers, announced later"
	}
	return m.add(d), nil
}

func (m *memory) Get(_ context.Context, mtorrent, dest string) (control.Download, error) {
	r, ok := m.remote[mtorrent]
	if !ok {
		return control.Download{}, fmt.Errorf("get %s: not a .mtorrent: it is empty", mtorrent)
	}
	d := control.Download{Name: r.name, Path: path.Join(dest, r.name), Mtorrent: path.Join("/lib", mtorrent), State: control.Downloading, Size: r.size}
	if r.fate == "whole" {
		d.State, d.Done = control.Seeding, d.Size
	}
	m.add(d)
	switch r.fate {
	case "stuck", "whole":
	case "complete":
		m.change(r.name, func(d *control.Download) { d.State, d.Done = control.Seeding, d.Size })
	default:
		m.change(r.name, func(d *control.Download) { d.State, d.Note = control.Failed, r.fate })
	}
	return d, nil
}

func (m *memory) Downloads(context.Context) ([]control.Download, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []control.Download
	for _, d := range m.list {
		list = append(list, *d)
	}
	return list, nil
}

func (m *memory) find(name string) (*control.Download, error) {
	return control.Find(m.list, func(d *control.Download) control.Named { return d.Named() }, name)
}

func (m *memory) Peers(_ context.Context, name string) ([]control.Peer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.find(name)
	return nil, err
}

func (m *memory) Pause(_ context.Context, name string) (control.Download, error) {
	return m.set(name, func(d *control.Download) { d.State = control.Paused })
}

func (m *memory) Resume(_ context.Context, name string) (control.Download, error) {
	return m.set(name, func(d *control.Download) { d.State = control.Downloading })
}

func (m *memory) Relocate(_ context.Context, name, path string, _ func(done, total int64)) (control.Download, error) {
	return m.set(name, func(d *control.Download) { d.Path = path })
}

func (m *memory) SeedUntil(_ context.Context, name string, goal control.SeedGoal) (control.Download, error) {
	return m.set(name, func(d *control.Download) { d.SeedUntil = &goal })
}

func (m *memory) Status(context.Context) (control.Status, error) { return control.Status{}, nil }

func (m *memory) set(name string, change func(*control.Download)) (control.Download, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(name)
	if err != nil {
		return control.Download{}, err
	}
	change(d)
	return *d, nil
}

func (m *memory) Remove(_ context.Context, mtorrent string) (control.Removed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.list, func(d *control.Download) bool { return path.Base(d.Mtorrent) == path.Base(mtorrent) })
	if i < 0 {
		return control.Removed{}, fmt.Errorf("remove %s: not in the library", mtorrent)
	}
	var left control.Removed
	if d := m.list[i]; d.State == control.Downloading {
		left = control.Removed{Part: d.Path + ".part", Done: 3, Pieces: d.Pieces()}
	}
	m.list = slices.Delete(m.list, i, i+1)
	return left, nil
}

func (m *memory) SetLimits(_ context.Context, mtorrent string, change control.LimitChange) (control.Limits, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := control.Limits{}
	if mtorrent != "" {
		i := slices.IndexFunc(m.list, func(d *control.Download) bool { return path.Base(d.Mtorrent) == path.Base(mtorrent) })
		if i < 0 {
			return l, fmt.Errorf("limit %s: not in the library", mtorrent)
		}
		l.Name = m.list[i].Name
	}
	l.Up, l.Down = m.limits[l.Name].Up, m.limits[l.Name].Down
	if change.Up != nil {
		l.Up = *change.Up
	}
	if change.Down != nil {
		l.Down = *change.Down
	}
	m.limits[l.Name] = l
	return l, nil
}

func (m *memory) Wait(ctx context.Context, timeout time.Duration) ([]control.Download, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, control.ErrUnfinished)
		defer cancel()
	}
	var waited []*control.Download
	m.mu.Lock()
	for _, d := range m.list {
		if d.State == control.Downloading || d.State == control.Failed {
			waited = append(waited, d)
		}
	}
	m.mu.Unlock()
	for {
		m.mu.Lock()
		running := 0
		var list []control.Download
		for _, d := range waited {
			if d.State == control.Downloading {
				running++
			}
			list = append(list, *d)
		}
		changed := m.changed
		m.mu.Unlock()
		if running == 0 {
			return list, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return list, context.Cause(ctx)
		}
	}
}

func (m *memory) Quit(context.Context) error {
	m.quits++
	if m.quits > 1 {
		return errors.New("quit: was called twice")
	}
	return nil
}
