package screen

import (
	"slices"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// A program that types for somebody, as expect does, ends lines with a line feed:
// a raw terminal hands that on as Ctrl-J and does not make an Enter of it.
func TestALineFeedEntersALineAsEnterDoes(t *testing.T) {
	var pushed []string
	m := newModel(t.Context(), nil, openHistory(""), "")
	m.push = func(line string) bool { pushed = append(pushed, line); return true }
	for _, end := range []tea.KeyPressMsg{{Code: tea.KeyEnter}, {Code: 'j', Mod: tea.ModCtrl}} {
		for _, key := range []tea.KeyPressMsg{{Code: 'h', Text: "h"}, {Code: 'i', Text: "i"}, end} {
			next, _ := m.Update(key)
			m = next.(model)
		}
	}
	if want := []string{"hi", "hi"}; !slices.Equal(pushed, want) {
		t.Errorf("entered %q, want %q", pushed, want)
	}
}
