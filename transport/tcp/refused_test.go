package tcp

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// watched is a listener and whom it has refused, up to more than any test has.
func watched(t *testing.T, o Options, row func(Options) transport.Transport) (transport.Listener, chan transport.Refusal) {
	t.Helper()
	knocks := make(chan transport.Refusal, 8*maxHandshakes)
	o.Refused = func(r transport.Refusal) { knocks <- r }
	l, err := row(o).Listen(testContext(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, knocks
}

// closed is whom a listener has refused that nobody has looked at, at its end.
func closed(t *testing.T, l transport.Listener, knocks chan transport.Refusal) map[transport.Reason]int {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n := map[transport.Reason]int{}
	for len(knocks) > 0 {
		n[(<-knocks).Reason]++
	}
	return n
}

func TestEachWhoIsRefusedIsReportedOnceAndWhy(t *testing.T) {
	s := transporttest.NewSwarm(t)
	hello := string(helloOf(s.Member(t)))
	for where, x := range map[string]struct {
		row     func(Options) transport.Transport
		creds   *identity.Credentials
		silent  string // the scheme of one who says nothing
		reasons map[string]transport.Reason
		schemes map[string]string
	}{
		"private": {
			NewTLS, s.Member(t), SchemeTLS,
			map[string]transport.Reason{
				preface:                  transport.ReasonNoKey,
				preface[:3]:              transport.ReasonNoKey,
				"GET / HTTP/1.1\r\n\r\n": transport.ReasonProtocol,
				"\x16GET / HTTP/1.1\r\n": transport.ReasonProtocol,
				hello:                    transport.ReasonTimeout,
				hello[:100]:              transport.ReasonTimeout,
			},
			map[string]string{hello: SchemeTLS, hello[:100]: SchemeTLS, "\x16GET / HTTP/1.1\r\n": SchemeTLS},
		},
		"open": {
			New, identity.Ephemeral(), Scheme,
			map[string]transport.Reason{
				"GET / HTTP/1.1\r\n\r\n": transport.ReasonProtocol,
				preface[:3]:              transport.ReasonTimeout,
				hello:                    transport.ReasonTimeout,
			},
			map[string]string{hello: SchemeTLS},
		},
		"without TLS": {New, nil, Scheme, map[string]transport.Reason{hello: transport.ReasonProtocol}, nil},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel() // each waits a second for the last words of some
			l, knocks := watched(t, Options{Credentials: x.creds, halfOpen: 100 * time.Millisecond}, x.row)
			x.reasons[""] = transport.ReasonTimeout
			said := map[string]string{} // by address
			for words := range x.reasons {
				p := rawDial(t, l)
				p.send([]byte(words))
				said[p.LocalAddr().String()] = words
			}
			for range len(said) {
				r := wait(t, "who was refused", knocks)
				words := said[r.From.String()]
				scheme := Scheme
				if words == "" {
					scheme = x.silent
				} else if x.schemes[words] != "" {
					scheme = x.schemes[words]
				}
				if why := x.reasons[words]; r.Reason != why || r.Scheme != scheme {
					t.Errorf("%.10q: refused %+v; want %s over %s", words, r, why, scheme)
				}
				delete(x.reasons, words)
			}
			for words, why := range x.reasons {
				t.Errorf("%.10q was not refused; want %s", words, why)
			}
			if more := closed(t, l, knocks); len(more) > 0 {
				t.Errorf("more were refused: %v", more)
			}
		})
	}
}

func TestWhoLeavesOrIsLetInIsNotReported(t *testing.T) {
	s := transporttest.NewSwarm(t)
	l, knocks := watched(t, Options{Credentials: s.Member(t)}, NewTLS)
	hello := helloOf(s.Member(t))
	for _, said := range [][]byte{nil, hello[:100], hello} {
		p := rawDial(t, l)
		p.send(said)
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, p) // it has been let go
		_ = p.Close()
		lets(t, s, l)
	}
	rawDial(t, l) // has its end at that of the listener
	lets(t, s, l)
	if told := closed(t, l, knocks); len(told) > 0 {
		t.Errorf("refused: %v", told)
	}
}

func TestWhoMakesRoomForOthersIsReported(t *testing.T) {
	s := transporttest.NewSwarm(t)
	l, knocks := watched(t, Options{Credentials: s.Member(t)}, NewTLS)
	for range 3 * maxHandshakes {
		rawDial(t, l)
	}
	lets(t, s, l) // by now the listener has taken all of them
	told := closed(t, l, knocks)
	if n := told[transport.ReasonBusy]; n != 2*maxHandshakes+1 || len(told) != 1 {
		t.Errorf("refused: %v; want %d, one of them for the member", told, 2*maxHandshakes+1)
	}
}

func TestWhomNobodyTakesIsReported(t *testing.T) {
	l, knocks := watched(t, Options{halfOpen: 100 * time.Millisecond}, New)
	for range acceptBacklog + 1 {
		p := rawDial(t, l)
		p.send([]byte(preface))
	}
	if r := wait(t, "who was refused", knocks); r.Reason != transport.ReasonBusy {
		t.Errorf("refused %+v", r)
	}
	if more := closed(t, l, knocks); len(more) > 0 {
		t.Errorf("more were refused: %v", more)
	}
}
