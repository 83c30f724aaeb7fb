package transport

import "sync"

// UnreadBudget is how many bytes that nobody has read yet the sessions of one
// carrier may hold together. Each session alone could hold MaxStreams times
// InitialCredit; honest ones hold next to nothing, since what they await goes
// straight to its reader.
const UnreadBudget = 64 << 20

// unreadFloor is what a session may hold whatever the others do.
const unreadFloor = 2 * InitialCredit

// Budget bounds what the sessions of one carrier hold in memory for bytes that
// have come and are not read. When it is exceeded, the session that holds most
// loses it.
type Budget struct {
	limit int64

	mu       sync.Mutex
	used     int64
	accounts map[*Account]bool
}

// NewBudget makes a budget of so many bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, accounts: make(map[*Account]bool)}
}

// Account is one session's part of a [Budget].
type Account struct {
	budget *Budget
	evict  func()
	held   int64 // guarded by budget.mu
}

// Open enters a session. evict ends it and must neither wait nor call back.
func (b *Budget) Open(evict func()) *Account {
	a := &Account{budget: b, evict: evict}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts[a] = true
	return a
}

// Add takes n bytes, or gives back -n. When they exceed the budget, the session
// that holds most is evicted, which may be this one; what it held is free then.
func (a *Account) Add(n int) {
	if n == 0 {
		return
	}
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.accounts[a] {
		return
	}
	a.held += int64(n)
	b.used += int64(n)
	for b.used > b.limit {
		most := b.largest()
		if most == nil {
			return
		}
		b.close(most)
		most.evict()
	}
}

// Close takes a session out, with all that it holds.
func (a *Account) Close() {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close(a)
}

func (b *Budget) close(a *Account) {
	if b.accounts[a] {
		delete(b.accounts, a)
		b.used -= a.held
	}
}

// largest is the session that holds most, above the floor.
func (b *Budget) largest() (most *Account) {
	for a := range b.accounts {
		if a.held > unreadFloor && (most == nil || a.held > most.held) {
			most = a
		}
	}
	return most
}

// Used is how much is held now, in bytes.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// TryTake takes n bytes that belong to no account, if there is room. Give
// returns them.
func (b *Budget) TryTake(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

// Give returns what TryTake took.
func (b *Budget) Give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}
