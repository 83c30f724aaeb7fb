package transport

import "testing"

func TestWhoHoldsMostLosesItAndNobodyElse(t *testing.T) {
	b := NewBudget(10 * unreadFloor)
	evicted := map[string]int{}
	open := func(name string) *Account { return b.Open(func() { evicted[name]++ }) }
	hog, other, honest := open("hog"), open("other"), open("honest")
	honest.Add(unreadFloor)
	other.Add(3 * unreadFloor)
	hog.Add(6 * unreadFloor)
	if len(evicted) != 0 || b.Used() != 10*unreadFloor {
		t.Fatalf("evicted %v, used %d", evicted, b.Used())
	}
	honest.Add(1)
	if evicted["hog"] != 1 || len(evicted) != 1 || b.Used() != 4*unreadFloor+1 {
		t.Fatalf("evicted %v, used %d", evicted, b.Used())
	}
	hog.Add(100 * unreadFloor) // it is out: what it still does counts no more
	hog.Add(-unreadFloor)
	hog.Close()
	other.Add(-3 * unreadFloor)
	honest.Close()
	honest.Close()
	if b.Used() != 0 || len(evicted) != 1 {
		t.Errorf("evicted %v, used %d", evicted, b.Used())
	}
}

func TestWhatManyHoldAtTheFloorIsLeftToThem(t *testing.T) {
	b := NewBudget(unreadFloor)
	for range 5 {
		b.Open(func() { t.Error("evicted") }).Add(unreadFloor)
	}
	if b.TryTake(1) {
		t.Error("more was given than there is")
	}
	b = NewBudget(2)
	if !b.TryTake(2) || b.TryTake(1) {
		t.Error("the room is not counted")
	}
	b.Give(2)
	if !b.TryTake(2) {
		t.Error("what was given back is lost")
	}
}
