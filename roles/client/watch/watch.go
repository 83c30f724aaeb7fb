// Package watch owns the folders whose .mtorrent files a client fetches and
// seeds by itself. What is in a folder is in the library; what is taken out of
// it is taken out of the library. It asks for nothing but what [control.API]
// offers.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/roles/client/control"
)

const (
	ext = ".mtorrent"
	// maxFiles bounds the files of one folder that are looked at: each is a
	// stat at every look.
	maxFiles = 10_000
	// atOnce is how many names are read at a time.
	atOnce = 512
)

// Options say what to watch.
type Options struct {
	API     control.API
	Folders []string      // absolute paths
	To      string        // folder that the files are fetched into
	Every   time.Duration // between two looks
	Log     *slog.Logger
}

// Run looks at the folders until ctx ends. Polling, because it also works where
// the file system tells of nothing, as over NFS.
func Run(ctx context.Context, o Options) {
	var list []*folder
	for _, path := range o.Folders {
		list = append(list, &folder{o: o, path: path, plan: newPlan(), log: o.Log.With("folder", path)})
	}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		for _, f := range list {
			f.look(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// folder is one that is watched.
type folder struct {
	o       Options
	path    string
	plan    *plan
	log     *slog.Logger
	problem string // why it could not be looked at the last time
}

// look does what is to be done about the folder now.
func (f *folder) look(ctx context.Context) {
	found, err := f.files()
	if err != nil {
		f.trouble(err)
		return
	}
	library, err := f.o.API.Downloads(ctx)
	if err != nil {
		f.trouble(err)
		return
	}
	f.problem = ""
	known := map[string]control.State{}
	for _, d := range library {
		if filepath.Dir(d.Mtorrent) == f.path {
			known[d.Mtorrent] = d.State
		}
	}
	get, remove := f.plan.look(found, known, time.Now())
	for _, path := range remove { // first: another name for the same torrent may have come
		left, err := f.o.API.Remove(ctx, path)
		if f.ended(ctx, path, err) {
			f.log.Info("removed: it is no longer in the watched folder", "mtorrent", filepath.Base(path), "part", left.Part)
		}
	}
	for _, path := range get {
		d, err := f.o.API.Get(ctx, path, f.o.To+string(filepath.Separator))
		if f.ended(ctx, path, err) {
			f.log.Info("taken from the watched folder", "mtorrent", filepath.Base(path), "path", d.Path)
		}
	}
}

// ended notes how something asked of the client has ended, and reports whether
// it was done. A failure is told once.
func (f *folder) ended(ctx context.Context, path string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if f.plan.done(path, err, time.Now()) {
		f.log.Warn("watched file: tried again every minute, told once", "mtorrent", filepath.Base(path), "error", err)
	}
	return err == nil
}

// trouble tells why a folder cannot be looked at, once.
func (f *folder) trouble(err error) {
	if f.problem != err.Error() {
		f.problem = err.Error()
		f.log.Warn("watched folder cannot be looked at; nothing changes meanwhile", "error", err)
	}
}

// files lists the .mtorrent files of the folder. Hidden ones are left out: they
// are how rsync and others name what they still write.
func (f *folder) files() (map[string]version, error) {
	dir, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found := map[string]version{}
	for {
		names, err := dir.Readdirnames(atOnce)
		for _, name := range names {
			if !strings.HasSuffix(name, ext) || strings.HasPrefix(name, ".") {
				continue
			}
			path := filepath.Join(f.path, name)
			info, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist): // it went just now, or is a dangling link
				continue
			case err != nil:
				return nil, err
			case !info.Mode().IsRegular():
				continue
			}
			if len(found) == maxFiles {
				return nil, fmt.Errorf("it holds more than %d .mtorrent files: use several folders", maxFiles)
			}
			found[path] = version{info.Size(), info.ModTime()}
		}
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
