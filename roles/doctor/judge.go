package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// network is what a transport runs over, as firewalls know it.
func network(scheme string) string {
	if scheme == "quic" {
		return "udp"
	}
	return "tcp"
}

// judgeReach is how one tracker is reached, a line for each transport. One that
// cannot be used is no harm while the role has another. A machine that refuses is
// up and lets through what is sent to it, so the tracker does not run there.
func (e *examination) judgeReach(r *reached) []Line {
	off := slices.ContainsFunc(r.over, func(a asked) bool { return errors.Is(a.err, syscall.ECONNREFUSED) }) &&
		!slices.ContainsFunc(r.over, func(a asked) bool { return a.err == nil })
	usable := slices.ContainsFunc(r.over, func(a asked) bool {
		return a.err == nil && slices.ContainsFunc(e.Dials, func(s string) bool { return network(s) == network(a.scheme) })
	})
	var lines []Line
	for _, a := range r.over {
		l := Line{Check: "tracker_" + a.scheme, Subject: r.addr}
		switch {
		case a.err == nil && a.probed == nil:
			l.Result, l.Detail = Warning, "answers, and is too old to be asked more: bring it to this version"
			l.Mend, l.On = "mtor version", r.host
		case a.err == nil:
			l.Result, l.Detail = OK, "answers in "+a.took.Round(10*time.Microsecond).String()
		default:
			l.Result, l.Detail = Failed, unreached(a.err)
			if usable {
				l.Result = Warning
				l.Detail += "; another transport gets through"
			}
			l.Mend, l.On = e.Tools.reach(a.err, off, network(a.scheme), portOf(r.addr)), r.host
			switch {
			case transport.WantsKey(a.err):
				l.Mend, l.On = e.Tools.swarmKey(r.host), ""
			case errors.Is(a.err, identity.ErrExpired):
				l.Mend, l.On = e.Tools.clock(), ""
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// unreached says on one line why somebody could not be reached.
func unreached(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused: nothing listens there"
	case timedOut(err):
		return fmt.Sprintf("no answer within %v: it is off, or something on the way drops what is sent", dialTimeout)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func timedOut(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func portOf(addr string) string {
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// agreement is how the lists of some trackers stand to each other.
type agreement int

const (
	alone    agreement = iota // fewer than two were asked
	same                      // the same lists
	apart                     // not all know the same changes
	distinct                  // they know the same, and their lists differ
)

func compare(list []answer) agreement {
	if len(list) < 2 {
		return alone
	}
	result := same
	for _, a := range list[1:] {
		if !bytes.Equal(a.GetVector(), list[0].GetVector()) {
			return apart
		}
		if !bytes.Equal(a.GetList(), list[0].GetList()) {
			result = distinct
		}
	}
	return result
}

// judgeAgreement holds what the trackers said last against what they said first.
func (e *examination) judgeAgreement(trackers []reached, first, now []answer) Line {
	l := Line{Check: "trackers_agree", Subject: addrsOf(trackers)}
	if x, y, one := twice(now); one {
		l.Result = Failed
		l.Detail = fmt.Sprintf("%s and %s are one tracker: nothing takes over when it fails", x, y)
		return l
	}
	switch compare(now) {
	case alone:
		l.Result = Warning
		l.Detail = fmt.Sprintf("not compared: %d of %d trackers could be asked", len(now), len(trackers))
		if len(trackers) < 2 {
			l.Detail, l.Mend = "not compared: this tracker does not run", e.Tools.Start
		}
	case same:
		l.Result = OK
		l.Detail = fmt.Sprintf("the same list: %s, %s", count(now[0].GetTorrents(), "torrent"), count(now[0].GetListed(), "row"))
	case distinct:
		l.Result = Failed
		l.Detail = "they know of the same changes, and their lists differ; they repair that by themselves within a minute"
		l.Mend = e.Tools.Again
	case apart:
		if x, y, cut := unlinked(now); cut {
			l.Result = Failed
			l.Detail = fmt.Sprintf("%s is not in touch with %s: changes do not pass", x.addr, y.addr)
			l.Mend, l.On = e.Tools.look(), x.host
			return l
		}
		behind, who := uint64(0), ""
		for _, a := range now {
			for _, k := range a.GetLinks() {
				if k.GetBehind() > behind {
					behind, who = k.GetBehind(), k.GetAddr()
				}
			}
		}
		if moved(first, now) {
			l.Result, l.Detail = OK, "in touch, while changes come in"
		} else {
			l.Result, l.Detail = Failed, "in touch, and changes do not pass"
			l.Mend = e.Tools.Again
		}
		if behind > 0 {
			l.Detail += fmt.Sprintf("; %s is %s behind", who, count(behind, "change"))
		}
	}
	return l
}

// twice finds two addresses of one tracker.
func twice(list []answer) (x, y string, one bool) {
	seen := map[string]string{}
	for _, a := range list {
		if other, ok := seen[string(a.GetNodeId())]; ok {
			return other, a.addr, true
		}
		seen[string(a.GetNodeId())] = a.addr
	}
	return "", "", false
}

// unlinked finds a tracker that does not pull from another one of the list.
func unlinked(list []answer) (x, y answer, cut bool) {
	for _, x := range list {
		for _, y := range list {
			if bytes.Equal(x.GetNodeId(), y.GetNodeId()) {
				continue
			}
			linked := false
			for _, k := range x.GetLinks() {
				linked = linked || k.GetConnected() && bytes.Equal(k.GetNodeId(), y.GetNodeId())
			}
			if !linked {
				return x, y, true
			}
		}
	}
	return x, y, false
}

// moved reports whether every tracker has taken changes since it was asked first.
func moved(first, now []answer) bool {
	for _, b := range now {
		for _, a := range first {
			if a.addr == b.addr && bytes.Equal(a.GetVector(), b.GetVector()) {
				return false
			}
		}
	}
	return true
}

func addrsOf(trackers []reached) string {
	var out []string
	for i := range trackers {
		out = append(out, trackers[i].addr)
	}
	return strings.Join(out, ", ")
}

func count(n uint64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

const (
	// clockOff is how far two clocks may be apart before it is worth a word: the
	// logs of two machines can no longer be laid side by side.
	clockOff = 2 * time.Second
	// clockWrong is how far a tracker believes another's stamps; beyond it the
	// order of share and remove is no longer kept across trackers.
	clockWrong = 48 * time.Hour
)

// judgeClocks holds this machine's clock against each tracker's. Where all are
// off to the same side, it is this one that is wrong.
func (e *examination) judgeClocks(trackers []reached) []Line {
	var lines []Line
	before, behind := 0, 0
	for i := range trackers {
		b := trackers[i].best()
		if b == nil {
			continue
		}
		off := b.ahead
		l := Line{Check: "clock", Subject: trackers[i].addr, Result: OK}
		within := (b.took/2 + time.Millisecond).Round(time.Millisecond)
		switch {
		case off.Abs() <= max(clockOff, within):
			l.Detail = fmt.Sprintf("the same time, to %v", max(off.Abs().Round(time.Millisecond), within))
			lines = append(lines, l)
			continue
		case off > 0:
			before++
			l.Detail = fmt.Sprintf("its clock is %v before this one", off.Round(time.Second))
		default:
			behind++
			l.Detail = fmt.Sprintf("its clock is %v behind this one", -off.Round(time.Second))
		}
		l.Result = Warning
		if off.Abs() > clockWrong {
			l.Result = Failed
		}
		l.Mend, l.On = e.Tools.clock(), trackers[i].host
		lines = append(lines, l)
	}
	if n := len(lines); n > 0 && (before == n || behind == n) {
		for i := range lines {
			lines[i].On = ""
		}
	}
	return lines
}

// unbound is what to do about a port that cannot be had, and by nobody else.
func (e *examination) unbound(d *door) Line {
	l := Line{Check: "own_port", Subject: e.Listen, Result: Failed, Detail: strings.Join(strings.Fields(d.err.Error()), " ")}
	switch {
	case errors.Is(d.err, syscall.EADDRNOTAVAIL):
		l.Detail = "the IP is not one of this machine's"
		l.Mend = e.Tools.addresses()
	case errors.Is(d.err, os.ErrPermission):
		l.Detail = "only root may listen there: take a port of 1024 or more"
	}
	return l
}

// judgeBack is whether the trackers reach the role's own port: a line for each
// transport, and one for an address that they would not list.
func (e *examination) judgeBack(d *door, back []answer) []Line {
	var lines []Line
	told := 0
	for _, a := range back {
		if a.Probed == nil {
			continue
		}
		told++
		if why := a.GetRefused(); why != "" {
			lines = append(lines, Line{
				Check: "address", Subject: d.addr.String(), Result: Failed,
				Detail: fmt.Sprintf("%s refuses it: %s", a.addr, why),
				Mend:   e.Tools.trust(a.GetSource()), On: a.host,
			})
		}
	}
	port := d.addr.Port()
	for _, row := range e.Carriers {
		l := Line{Check: "own_port_" + row.Scheme, Subject: d.addr.String(), Result: OK}
		var through, failed []string
		for _, a := range back {
			for _, x := range a.GetDialled() {
				if x.GetScheme() != row.Scheme {
					continue
				}
				switch id := x.GetNodeId(); {
				case x.GetError() != "":
					failed = append(failed, a.addr+": "+x.GetError())
					l.Mend = e.Tools.open(network(row.Scheme), port)
					if d.inUse() && strings.Contains(x.GetError(), "does not answer as mtor") {
						l.Mend = e.Tools.holder(port)
					}
				case d.mine() && !bytes.Equal(id, d.id[:]):
					failed = append(failed, a.addr+": another node answers at this address")
					l.Mend = e.Tools.addresses()
				default:
					through = append(through, a.addr)
				}
			}
		}
		switch {
		case len(failed) > 0:
			l.Result, l.Detail = Failed, "not reached by "+strings.Join(failed, "; ")
		case len(through) > 0:
			l.Detail = "reached by " + strings.Join(through, " and ")
			if d.inUse() {
				l.Detail += ", where the " + e.Role + " runs"
			}
		case told == 0:
			l.Result, l.Detail = Warning, "not looked at: no tracker could be asked to dial it"
		default:
			l.Result, l.Detail = Warning, "not looked at: a tracker dials back only to the address that it is called from"
		}
		lines = append(lines, l)
	}
	return lines
}
