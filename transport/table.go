package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mtor-dev/mtor/transport/address"
	"github.com/mtor-dev/mtor/transport/identity"
)

// FallbackDelay is the head start that each transport has over the next one
// of its table in [Table.Dial]. It is the "connection attempt delay" of RFC
// 8305, section 5: long enough that a healthy path never starts a second
// handshake, short enough that a blocked one (blocked UDP is silence) is not
// felt.
const FallbackDelay = 250 * time.Millisecond

// portAttempts bounds how often [Table.Listen] looks for a port number that is
// free in every transport. TCP and UDP numbers are taken independently, so a
// collision is rare and a row of them rarer still.
const portAttempts = 16

// Table holds the transports that a program speaks, in the order in which they
// are dialled.
type Table []Transport

// Only returns the named rows, in the order of the names.
func (t Table) Only(schemes ...string) (Table, error) {
	if len(schemes) == 0 {
		return nil, errors.New("no transport named")
	}
	only := make(Table, 0, len(schemes))
	for _, s := range schemes {
		row, ok := t.row(s)
		if !ok {
			return nil, fmt.Errorf("unknown transport %q: want one of %s", s, t)
		}
		if _, twice := only.row(s); twice {
			return nil, fmt.Errorf("transport %q is named twice", s)
		}
		only = append(only, row)
	}
	return only, nil
}

// Proving returns the rows over which both ends prove who they are.
func (t Table) Proving() Table {
	return slices.DeleteFunc(slices.Clone(t), func(row Transport) bool { return !row.Proves })
}

// Insists reports whether dialling addr leads to sessions over rows that prove
// who is there, or to none.
func (t Table) Insists(addr string) bool {
	rows, _, err := t.forAddress(addr)
	return err == nil && len(rows.Proving()) == len(rows)
}

// Expecting returns the rows of t that prove who is there, each of which takes
// none but the node of that ID for it: any other is left before a stream is
// opened, and the error matches [ErrOtherNode].
func (t Table) Expecting(id identity.ID) Table {
	rows := t.Proving()
	for i, row := range rows {
		rows[i].Dial = func(ctx context.Context, addr string) (Session, error) {
			s, err := row.Dial(ctx, addr)
			if err != nil {
				return nil, err
			}
			if s.Peer() != id {
				_ = s.Close() // it is nobody that this side wants to hear more of
				return nil, &DialError{Scheme: row.Scheme, Addr: addr, Err: fmt.Errorf("%w: node %v, want %v", ErrOtherNode, s.Peer(), id)}
			}
			return s, nil
		}
	}
	return rows
}

// First returns t with the row of that scheme in front, if there is one.
func (t Table) First(scheme string) Table {
	row, ok := t.row(scheme)
	if !ok {
		return t
	}
	first := Table{row}
	for _, other := range t {
		if other.Scheme != scheme {
			first = append(first, other)
		}
	}
	return first
}

// String lists the schemes in order: "tcp, quic".
func (t Table) String() string {
	var b strings.Builder
	for i, row := range t {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(row.Scheme)
	}
	return b.String()
}

func (t Table) row(scheme string) (Transport, bool) {
	for _, row := range t {
		if row.Scheme == scheme {
			return row, true
		}
	}
	return Transport{}, false
}

// forAddress parses addr and returns the rows that may serve it.
func (t Table) forAddress(addr string) (Table, address.Address, error) {
	a, err := address.Parse(addr)
	if err != nil {
		return nil, a, fmt.Errorf("address %q: %w", addr, err)
	}
	if a.Scheme == "" {
		if len(t) == 0 {
			return nil, a, errors.New("no transport is enabled")
		}
		return t, a, nil
	}
	row, ok := t.row(a.Scheme)
	if !ok {
		return nil, a, fmt.Errorf("transport %q is not enabled", a.Scheme)
	}
	return Table{row}, a, nil
}

// Dial connects to addr, "host:port" or "scheme://host:port" (see
// [address.Parse]). With a scheme only that transport is tried. Without one
// the transports are started in the order of the table, each [FallbackDelay]
// after the one before or at once when one fails; the first session to be
// established wins, and the other attempts are cancelled, closed and waited
// for.
//
// When all fail, the error holds the [*DialError] of each attempt, on one
// line. ctx bounds the dialling only, not the life of the session.
func (t Table) Dial(ctx context.Context, addr string) (Session, error) {
	rows, a, err := t.forAddress(addr)
	if err != nil {
		return nil, err
	}
	if len(rows) == 1 {
		return rows[0].Dial(ctx, a.HostPort())
	}
	return race(ctx, rows, a.HostPort())
}

// dialed is the outcome of one attempt.
type dialed struct {
	session Session
	err     error
}

func race(ctx context.Context, rows Table, hostPort string) (Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan dialed)
	started, running := 0, 0
	start := func() {
		row := rows[started]
		started++
		running++
		go func() {
			s, err := row.Dial(ctx, hostPort)
			outcomes <- dialed{s, err}
		}()
	}

	start()
	head := time.NewTimer(FallbackDelay)
	defer head.Stop()
	var failed joined
	for running > 0 {
		startNext := false
		select {
		case <-head.C:
			startNext = true
		case o := <-outcomes:
			running--
			if o.err == nil {
				cancel()
				discard(outcomes, running)
				return o.session, nil
			}
			failed = append(failed, o.err)
			startNext = true
		}
		if startNext && started < len(rows) && ctx.Err() == nil {
			start()
			head.Reset(FallbackDelay)
		}
	}
	return nil, failed
}

// discard waits for n cancelled attempts and closes those that got through
// all the same.
func discard(outcomes <-chan dialed, n int) {
	for range n {
		if o := <-outcomes; o.err == nil {
			_ = o.session.Close() // it lost the race: nobody is interested in how it ends
		}
	}
}

// joined is errors.Join on one line.
type joined []error

func (e joined) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}

func (e joined) Unwrap() []error { return e }

// Listen binds every transport of the table (the one alone that addr names)
// on the same host and port number, and returns the listeners in the order of
// the table. With port 0 the first transport picks the number; where another
// finds it taken, a few more numbers are tried. When one cannot be bound, the
// error names it and nothing stays bound.
func (t Table) Listen(ctx context.Context, addr string) ([]Listener, error) {
	rows, a, err := t.forAddress(addr)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		listeners, err := bindAll(ctx, rows, a)
		if err == nil {
			return listeners, nil
		}
		// With no listener the first transport failed, which had the choice.
		another := a.Port == 0 && len(listeners) > 0 && attempt < portAttempts && ctx.Err() == nil
		if cerr := closeAll(listeners); cerr != nil {
			return nil, joined{err, cerr}
		}
		if !another {
			return nil, err
		}
	}
}

// bindAll binds rows on one port number. On an error it also returns what it
// has bound so far.
func bindAll(ctx context.Context, rows Table, a address.Address) ([]Listener, error) {
	var bound []Listener
	for _, row := range rows {
		l, err := row.Listen(ctx, a.HostPort())
		if err != nil {
			return bound, fmt.Errorf("cannot bind %s://%s: %w", row.Scheme, a.HostPort(), err)
		}
		bound = append(bound, l)
		if a.Port == 0 {
			if a.Port, err = portOf(l.Addr()); err != nil {
				return bound, fmt.Errorf("%s bound to %s: %w", row.Scheme, l.Addr(), err)
			}
		}
	}
	return bound, nil
}

func portOf(addr net.Addr) (uint16, error) {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return uint16(n), err
}

func closeAll(listeners []Listener) error {
	var errs []error
	for _, l := range listeners {
		if err := l.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
