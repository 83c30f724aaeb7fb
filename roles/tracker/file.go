package tracker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
)

// ErrDataLoss: the seederlist file cannot be used, and no other tracker can be
// reached to refill from. The file is where it was.
var ErrDataLoss = errors.New("none of the other trackers can be reached to refill from")

// openRegistry opens the seederlist file. One that is damaged, or no
// seederlist at all, is set aside, never written over: the tracker starts on a
// new one and pulls everything from the others. While none of them answers, it
// starts empty only if that is accepted.
func openRegistry(ctx context.Context, o *Options) (*registry.Registry, error) {
	reg, err := o.open()
	switch {
	case err == nil:
		return reg, nil
	case errors.Is(err, registry.ErrInUse):
		if who := Holder(o.SeederlistFile); who != "" {
			err = fmt.Errorf("%w (%s)", err, who)
		}
		return nil, err
	case !errors.Is(err, registry.ErrDamaged) && !errors.Is(err, registry.ErrForeign) && !errors.Is(err, registry.ErrVersion):
		return nil, err
	}
	from := reachable(ctx, o)
	if from == "" && !o.AcceptDataLoss {
		return nil, fmt.Errorf("%w; %w (%s): start it again when one is up, or accept that what only this file held is lost",
			err, ErrDataLoss, strings.Join(o.Peers, ", "))
	}
	name, aside := registry.SetAside(o.SeederlistFile, err)
	if aside != nil {
		return nil, aside
	}
	if from != "" {
		o.Log.Warn("seederlist file set aside; refilling from the other trackers", "file", name, "peer", from, "err", err)
	} else {
		o.Log.Warn("seederlist file set aside; starting with an empty list", "file", name, "err", err)
	}
	return o.open()
}

func (o *Options) open() (*registry.Registry, error) {
	if o.Node == (registry.NodeID{}) {
		return registry.Open(o.SeederlistFile)
	}
	return registry.OpenAs(o.SeederlistFile, o.Node)
}

// reachable is the first of the other trackers to answer, or empty.
func reachable(ctx context.Context, o *Options) string {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	answers := make(chan string, len(o.Peers))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, peer := range o.Peers {
		asking.Go(func() {
			if err := knock(ctx, o, peer); err != nil {
				o.Log.Info("peer tracker cannot be reached", "peer", peer, "err", inWords(err))
				peer = ""
			}
			answers <- peer
		})
	}
	for range o.Peers {
		if peer := <-answers; peer != "" {
			return peer
		}
	}
	return ""
}

// knock makes sure that a tracker answers at peer. The ID is nobody's, so that
// no tracker remembers it.
func knock(ctx context.Context, o *Options, peer string) error {
	sess, err := o.Dial.Dial(ctx, peer)
	if err != nil {
		return err
	}
	defer func() { _ = sess.Close() }() // it was only asked for
	stop := context.AfterFunc(ctx, func() { _ = sess.Close() })
	defer stop()
	hello := &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_TRACKER, NodeId: make([]byte, wire.NodeIDSize), Agent: agent}
	_, _ = rand.Read(hello.NodeId) // never fails
	h, err := exchangeHellos(ctx, sess, hello)
	if err == nil && h.GetRole() != wire.Role_ROLE_TRACKER {
		err = errNoTracker
	}
	return err
}

// holderFile stands beside a seederlist file and says who has it open.
func holderFile(path string) string { return path + ".holder" }

// hold notes that this tracker has the file, and returns what ends that.
func (t *Tracker) hold() (release func() error, err error) {
	name := holderFile(t.opts.SeederlistFile)
	text := fmt.Sprintf("tracker %s, process %d, since %s\n", t.addr, os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("note the holder of the seederlist file: %w", err)
	}
	return func() error {
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}, nil
}

// maxHolder bounds what is read of a holder file, in bytes.
const maxHolder = 200

// Holder says which tracker has a seederlist file open that is in use: its
// address and process. It is empty if that is not known.
func Holder(seederlistFile string) string {
	b, err := os.ReadFile(holderFile(seederlistFile))
	if err != nil || len(b) > maxHolder {
		return ""
	}
	return strings.TrimSpace(string(b))
}
