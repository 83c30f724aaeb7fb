package replica

import (
	"bytes"
	cmp2 "cmp"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
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
	{Dot: registry.Dot{Origin: registry.Origin{1}, Seq: 13}, Stamp: 14, Kind: registry.KindHome, Addr: registry.Addr{6}, Node: registry.NodeID{6}, Owner: registry.NodeID{7}},
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
		"no kind":              func(g *wire.Given) { g.Entries[0].Kind = 0 },
		"endless extra fields": func(g *wire.Given) { g.Entries[0].ProtoReflect().SetUnknown(field(99, 5000)) },
		"negative kind":        func(g *wire.Given) { g.Entries[0].Kind = -1 },
		"kind beyond a byte":   func(g *wire.Given) { g.Entries[0].Kind = 257 },
		"short torrent":        func(g *wire.Given) { g.Entries[0].TorrentId = nil },
		"short address":        func(g *wire.Given) { g.Entries[3].Addr = []byte{1} },
		"short node":           func(g *wire.Given) { g.Entries[2].NodeId = []byte{1} },
		"short owner":          func(g *wire.Given) { g.Entries[5].Owner = []byte{1} },
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

// field is a protobuf field that nobody knows.
func field(number protowire.Number, length int) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), make([]byte, length))
}

// A newer tracker's entries reach a third through one that does not understand
// them.
func TestUnknownFieldsAndKindsArePassedOn(t *testing.T) {
	g := proto.Clone(encode(samples)).(*wire.Given)
	for i, e := range g.Entries {
		e.ProtoReflect().SetUnknown(field(protowire.Number(90+i), 10))
	}
	strange := &wire.Entry{Seq: 12, Stamp: 14, Kind: 77, Addr: []byte("short"), Filename: "a/b"}
	strange.ProtoReflect().SetUnknown(field(99, 3))
	g.Entries = append(g.Entries, strange)
	entries, err := decode(g)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a, b := open(t, filepath.Join(dir, "a")), open(t, filepath.Join(dir, "b"))
	merged := make(chan error, 1)
	v := registry.Vector{}
	for _, e := range entries {
		v[e.Dot.Origin] = max(v[e.Dot.Origin], e.Dot.Seq)
		if e.Kind == registry.KindTorrent {
			a.PutHashes(e.Torrent, nil)
		}
	}
	entries[4].Size = 0 // no hash string
	a.Merge(entries, registry.Vector{}.SpansTo(v), func(err error) { merged <- err })
	if err := <-merged; err != nil {
		t.Fatal(err)
	}
	defer link(t, b, a)()
	until(t, "both are in step", func() bool { return b.Vector().CoversAll(v) })
	scan := b.Scan(nil)
	defer scan.Close()
	got, err := scan.Next(100)
	if err != nil {
		t.Fatal(err)
	}
	order := func(a, b registry.Entry) int {
		return cmp2.Or(bytes.Compare(a.Dot.Origin[:], b.Dot.Origin[:]), int(a.Dot.Seq)-int(b.Dot.Seq))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(entries, order)
	if d := cmp.Diff(entries, got); d != "" {
		t.Error(d)
	}
	again := encode(got)
	for _, e := range again.Entries {
		if len(e.ProtoReflect().GetUnknown()) == 0 {
			t.Errorf("%v lost its unknown field", e)
		}
		if e.Kind == 77 && (e.Filename != "a/b" || string(e.Addr) != "short" || e.Seq != 12) {
			t.Errorf("an unknown kind became %v", e)
		}
	}
}
