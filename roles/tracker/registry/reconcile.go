package registry

import "slices"

// seen are the dots of a full walk, in the order in which they came.
type seen map[Origin][]uint64

func (s seen) add(entries []Entry) {
	for i := range entries {
		d := entries[i].Dot
		s[d.Origin] = append(s[d.Origin], d.Seq)
	}
}

func (s seen) has(d Dot) bool {
	_, ok := slices.BinarySearch(s[d.Origin], d.Seq)
	return ok
}

// mergeFull takes an entry of a full walk. Unlike merge it does not trust that
// what the vector covers is here, if what is here is older.
func (b *batch) mergeFull(e Entry) {
	if b.c.covers(e.Dot) {
		if !e.Kind.known() {
			return
		}
		cur, ok := b.get(e.key())
		if !ok || !e.beats(&cur) {
			return
		}
	}
	b.mergeNewer(e)
}

// reconcile plans the end of a full walk, after all its entries were merged:
// what the giver accounts for and no longer has is dead. Nothing else may be in
// the batch, no scan open when it is introduced, and what is superseded must be
// swept before or with it.
func (b *batch) reconcile(s seen, spans []Span, dropped Vector) error {
	if err := b.adopt(spans); err != nil {
		return err
	}
	for o := range s {
		if !slices.IsSorted(s[o]) {
			slices.Sort(s[o])
		}
	}
	c := b.c
	upto := make([]uint64, len(c.origins)) // of the giver
	for _, sp := range spans {
		if n, ok := c.originNum[sp.Origin]; ok {
			upto[n] = sp.To
		}
	}
	dead := func(d dotRef) bool {
		return d.seq <= upto[d.origin] && !s.has(Dot{c.origins[d.origin], d.seq})
	}
	for tn := range c.torrents {
		for _, r := range c.torrents[tn].rows {
			if dead(r.ref()) {
				b.drops = append(b.drops, condemned{uint32(tn), r.client, r.ref()})
			}
		}
	}
	for cn := range c.clients {
		if f := c.clients[cn].floor; f != nil && dead(f.ref()) {
			b.drops = append(b.drops, condemned{notTorrent, uint32(cn), f.ref()})
		}
	}
	b.raises = dropped
	return nil
}
