package replica

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
)

var samples = []registry.Entry{
	{Dot: registry.Dot{Origin: registry.Origin{1}, Seq: 1}, Stamp: 2, Kind: registry.KindRow, Torrent: torrentfmt.ID{1}, Addr: registry.Addr{2}, Whole: true},
	{Dot: registry.Dot{Origin: registry.Origin{2}, Seq: 5}, Stamp: 3, Kind: registry.KindRow, Torrent: torrentfmt.ID{3}, Addr: registry.Addr{4}, Gone: true},
	{Dot: registry.Dot{Origin: registry.Origin{1}, Seq: 7}, Stamp: 8, Kind: registry.KindHome, Addr: registry.Addr{5}, Node: registry.NodeID{6}},
	{Dot: registry.Dot{Origin: registry.Origin{3}, Seq: 9}, Stamp: 10, Kind: registry.KindFloor, Addr: registry.Addr{7}},
	{Dot: registry.Dot{Origin: registry.Origin{1}, Seq: 11}, Stamp: 12, Kind: registry.KindTorrent, Torrent: torrentfmt.ID{8}, Name: "a file", Size: 1 << 40},
}

func TestEntriesSurviveTheWay(t *testing.T) {
	b, err := proto.Marshal(encode(samples))
	if err != nil {
		t.Fatal(err)
	}
	var g wire.Given
	if err := proto.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	got, err := decode(&g)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(samples, got); d != "" {
		t.Error(d)
	}
}

func TestImpossibleEntriesAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(g *wire.Given){
		"unknown origin":       func(g *wire.Given) { g.Entries[0].Origin = 99 },
		"short origin":         func(g *wire.Given) { g.Origins[0] = []byte("x") },
		"no sequence number":   func(g *wire.Given) { g.Entries[0].Seq = 0 },
		"endless clock":        func(g *wire.Given) { g.Entries[0].Stamp = 1 << 63 },
		"unknown kind":         func(g *wire.Given) { g.Entries[0].Kind = 77 },
		"negative kind":        func(g *wire.Given) { g.Entries[0].Kind = -1 },
		"kind beyond a byte":   func(g *wire.Given) { g.Entries[0].Kind = 257 },
		"short torrent":        func(g *wire.Given) { g.Entries[0].TorrentId = nil },
		"short address":        func(g *wire.Given) { g.Entries[3].Addr = []byte{1} },
		"short node":           func(g *wire.Given) { g.Entries[2].NodeId = []byte{1} },
		"path as filename":     func(g *wire.Given) { g.Entries[4].Filename = "a/b" },
		"negative size":        func(g *wire.Given) { g.Entries[4].Filesize = 1 << 63 },
		"another hash length":  func(g *wire.Given) { g.Entries[4].HashLength = 20 },
		"no entry, only a nil": func(g *wire.Given) { g.Entries[1] = nil },
	} {
		g := proto.Clone(encode(samples)).(*wire.Given)
		spoil(g)
		_, err := decode(g)
		var coded *wire.CodeError
		if !errors.As(err, &coded) || coded.Code != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzGiven(f *testing.F) {
	for i := range samples {
		g := encode(samples[:i+1])
		g.Round, g.Spans = uint64(i), encodeSpans([]registry.Span{{Origin: registry.Origin{1}, From: 1, To: 2}})
		b, err := proto.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var g wire.Given
		if proto.Unmarshal(b, &g) != nil {
			return
		}
		_, _ = decodeSpans(g.GetSpans())
		entries, err := decode(&g)
		if err != nil {
			return
		}
		again, err := decode(encode(entries))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(entries, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzVector(f *testing.F) {
	v := registry.Vector{registry.Origin{1}: 5, registry.Origin{2}: 1 << 60}
	b, err := proto.Marshal(&wire.Pulled{Have: encodeVector(v), Round: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p wire.Pulled
		if proto.Unmarshal(b, &p) != nil {
			return
		}
		v, err := decodeVector(p.GetHave())
		if err != nil {
			return
		}
		again, err := decodeVector(encodeVector(v))
		if err != nil || !v.CoversAll(again) || !again.CoversAll(v) {
			t.Fatalf("%v came back as %v (%v)", v, again, err)
		}
	})
}
