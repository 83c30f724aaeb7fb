package tracker

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/mtor-dev/mtor/roles/wire"
)

func TestForeignAddressIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		for _, addr := range []string{"10.1.0.2:1", "[2001:db8::1]:1"} {
			for _, req := range []*wire.Request{announce(f, true), remove(f), leave(), renew(f)} {
				req.Addr = addr
				r := c.do(req, nil)
				if r.GetError() != wire.Error_ERROR_FOREIGN_ADDRESS {
					t.Errorf("%s: %v (%s)", addr, r.GetError(), r.GetMessage())
				}
				ip := netip.MustParseAddrPort(addr).Addr().String()
				if !bytes.Contains([]byte(r.GetMessage()), []byte(ip)) || !bytes.Contains([]byte(r.GetMessage()), []byte("10.1.0.1")) {
					t.Errorf("%q does not name both addresses", r.GetMessage())
				}
			}
		}
		w.expect(addrA, f, "10.1.0.1:1+")
	})
}

func TestATrustedNetworkMayAnnounceOtherAddresses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.change = func(o *Options) {
			o.TrustAnnounced = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/30"), netip.MustParsePrefix("fd00::/8")}
		}
		w.start(addrA)
		f := fileOf("f", 1)
		inside, outside := w.call(addrA, "10.1.0.1:1"), w.call(addrA, "10.1.0.4:1")
		outside.addr = "203.0.113.9:9"
		if r := outside.do(announceNew(f, true), f.hashes); r.GetError() != wire.Error_ERROR_FOREIGN_ADDRESS {
			t.Errorf("from outside the network: %v (%s)", r.GetError(), r.GetMessage())
		}
		inside.addr = "203.0.113.9:9"
		inside.share(f)
		w.expect(addrA, f, "203.0.113.9:9+")
		inside.ok(renew(f), nil)
		inside.ok(leave(), nil)
		w.expect(addrA, f)
	})
}

func TestUnspecifiedAddressStandsForTheSource(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		c := w.call(addrA, "10.1.0.1:1")
		for _, addr := range []string{"0.0.0.0:5", "[::]:6", "[::ffff:10.1.0.1]:7"} {
			req := announceNew(f, true)
			req.Addr = addr
			c.ok(req, f.hashes)
		}
		w.expect(addrA, f, "10.1.0.1:5+", "10.1.0.1:6+", "10.1.0.1:7+")
	})
}

func TestBadAddressIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		for _, addr := range []string{"10.1.0.1", "10.1.0.1:0", "host:1", "[fe80::1%eth0]:1", "10.1.0.1:65536"} {
			req := leave()
			req.Addr = addr
			if r := c.do(req, nil); r.GetError() != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("%q: %v", addr, r.GetError())
			}
		}
	})
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		// A writer of its own: there are more requests than the tracker holds
		// at once.
		const n = 500
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				f := fileOf(fmt.Sprint("f", i%7), 1)
				c.send(announceNew(f, true), f.hashes)
				c.send(announce(f, true), nil) // again: changes nothing
				c.send(remove(f), nil)
				c.send(&wire.Request{Kind: &wire.Request_Remove{Remove: &wire.Remove{TorrentId: []byte("short")}}}, nil)
				c.send(&wire.Request{Kind: &wire.Request_SeederList{SeederList: &wire.SeederList{TorrentId: f.id()}}}, nil)
			}
		}()
		in := wire.NewReader(c.st)
		var last uint64
		for i := range 5 * n {
			var r wire.Reply
			if err := in.Next(&r, wire.MaxMessage); err != nil {
				t.Fatal(err)
			}
			want := wire.Error_ERROR_NONE
			if i%5 == 3 {
				want = wire.Error_ERROR_BAD_REQUEST
			}
			if r.GetError() != want {
				t.Fatalf("reply %d: %v (%s), want %v", i, r.GetError(), r.GetMessage(), want)
			}
			if s := r.GetStamp(); s != 0 && s < last {
				t.Fatalf("reply %d: stamp %d after %d", i, s, last)
			} else if s != 0 {
				last = s
			}
			if (r.GetSeeders() != nil) != (i%5 == 0 || i%5 == 1 || i%5 == 4) {
				t.Fatalf("reply %d is that of another request: %v", i, &r)
			}
		}
		<-sent
		for i := range 7 {
			w.expect(addrA, fileOf(fmt.Sprint("f", i), 1))
		}
	})
}

func TestUnknownTorrentNeedsItsHashString(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		f := fileOf("f", 5)
		if r := c.do(announce(f, true), nil); r.GetError() != wire.Error_ERROR_NEED_HASHES {
			t.Fatalf("got %v", r.GetError())
		}
		for name, spoil := range map[string]func(*wire.Announce){
			"another torrent's hash string": func(a *wire.Announce) { a.TorrentId = fileOf("g", 5).id() },
			"a filename with a separator":   func(a *wire.Announce) { a.Filename = "../f" },
			"too small a file":              func(a *wire.Announce) { a.Filesize = 1 },
			"too large a file":              func(a *wire.Announce) { a.Filesize = 1 << 60 },
		} {
			req := announceNew(f, true)
			spoil(req.GetAnnounce())
			if r := c.do(req, f.hashes); r.GetError() != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("%s: %v", name, r.GetError())
			}
		}
		req := announceNew(f, true) // a known client, a foreign address, in step all the same
		req.Addr = "10.1.0.77:1"
		if r := c.do(req, f.hashes); r.GetError() != wire.Error_ERROR_FOREIGN_ADDRESS {
			t.Errorf("foreign address: %v", r.GetError())
		}
		w.expect(addrA, f)
		c.ok(announceNew(f, true), f.hashes)
		w.expect(addrA, f, "10.1.0.1:1+")
	})
}

func TestAskerIsNotInItsOwnSample(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		for i := range 30 {
			w.call(addrA, fmt.Sprintf("10.1.0.%d:1", i+1)).share(f)
		}
		c := w.call(addrA, "10.1.0.7:1")
		seen := map[netip.AddrPort]bool{}
		for range 200 {
			req := announce(f, true)
			req.GetAnnounce().Want = 10
			r := c.ok(req, nil)
			list, err := r.GetSeeders().Unpack()
			if err != nil || len(list) != 10 || r.GetSeeders().GetTotal() != 29 {
				t.Fatalf("%d of %d (%v)", len(list), r.GetSeeders().GetTotal(), err)
			}
			once := map[netip.AddrPort]bool{}
			for _, s := range list {
				if s.Addr.String() == c.addr || once[s.Addr] {
					t.Fatalf("sample %v", list)
				}
				once[s.Addr], seen[s.Addr] = true, true
			}
		}
		if len(seen) != 29 {
			t.Errorf("200 samples showed %d of 29 peers", len(seen))
		}
	})
}
