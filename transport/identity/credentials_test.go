package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

const alpn = "mtor/1"

func testSwarm(t *testing.T) *Swarm {
	t.Helper()
	path := filepath.Join(t.TempDir(), "swarm.key")
	if err := CreateSwarm(path); err != nil {
		t.Fatal(err)
	}
	return reopen(t, path)
}

func reopen(t *testing.T, path string) *Swarm {
	t.Helper()
	s, err := OpenSwarm(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake has two nodes shake hands and returns what each of them found.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState, errServer, errClient error) {
	t.Helper()
	a, b := connected(t)
	defer func() { _ = a.Close(); _ = b.Close() }()
	done := make(chan error, 1)
	s, c := tls.Server(a, server), tls.Client(b, client)
	go func() {
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		_ = a.Close() // so that the client does not wait for one that has given up
		done <- err
	}()
	errClient = c.HandshakeContext(t.Context())
	if errClient == nil {
		_, errClient = c.Read(make([]byte, 1)) // an acceptor refuses after the dialler is through
	} else {
		_ = b.Close()
	}
	errServer = <-done
	return s.ConnectionState(), c.ConnectionState(), errServer, errClient
}

// connected is both ends of a TCP connection. A net.Pipe has no buffer: two
// sides that give up at once would wait for each other.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestBothEndsLearnEachOthersID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swarm.key")
	if err := CreateSwarm(path); err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*Credentials{
		"open":    {Ephemeral(), Ephemeral()},
		"private": {New(NewKey(), reopen(t, path)), New(NewKey(), reopen(t, path))},
	} {
		a, b, errA, errB := shake(t, pair[0].Server(alpn), pair[1].Client(alpn))
		if errA != nil || errB != nil {
			t.Fatalf("%s: %v, %v", name, errA, errB)
		}
		if Peer(a) != pair[1].ID() || Peer(b) != pair[0].ID() || Peer(a) == Peer(b) {
			t.Errorf("%s: found %v and %v; they are %v and %v", name, Peer(a), Peer(b), pair[1].ID(), pair[0].ID())
		}
		if a.Version != tls.VersionTLS13 || a.DidResume {
			t.Errorf("%s: version %x, resumed %v", name, a.Version, a.DidResume)
		}
	}
	if !Peer(tls.ConnectionState{}).IsZero() {
		t.Error("nobody has an ID")
	}
}

func TestAPrivateSwarmIsForItsMembers(t *testing.T) {
	ours := testSwarm(t)
	member := New(NewKey(), ours)
	for name, stranger := range map[string]*Credentials{
		"no swarm key":    Ephemeral(),
		"other swarm key": New(NewKey(), testSwarm(t)),
	} {
		_, _, err, told := shake(t, member.Server(alpn), stranger.Client(alpn))
		// The stranger refuses, too, and is first.
		if err == nil || !errors.Is(told, ErrForeign) && !errors.Is(told, ErrPrivate) {
			t.Errorf("%s dials: %v, %v", name, err, told)
		}
		careless := stranger.Client(alpn)
		careless.VerifyConnection = nil
		if _, _, err, told = shake(t, member.Server(alpn), careless); !errors.Is(err, ErrForeign) {
			t.Errorf("%s dials whoever it may be: %v, %v", name, err, told)
		}
		if told == nil {
			t.Errorf("%s read a byte", name)
		}
		if _, _, _, err = shake(t, stranger.Server(alpn), member.Client(alpn)); !errors.Is(err, ErrForeign) {
			t.Errorf("dialling %s: %v", name, err)
		}
	}
}

// Who was let in once proves anew that he belongs here: nothing that he kept of
// the handshake opens the next.
func TestHandshakesAreNotResumed(t *testing.T) {
	swarm := testSwarm(t)
	server, client := New(NewKey(), swarm).Server(alpn), New(NewKey(), swarm).Client(alpn)
	client.ServerName, client.ClientSessionCache = "mtor", tls.NewLRUClientSessionCache(1)
	for range 2 {
		a, b, errA, errB := shake(t, server, client)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.DidResume || b.DidResume {
			t.Error("a handshake was resumed")
		}
	}
}

// A chain is no proof: none but the node's own certificate is looked at.
func TestMoreThanOneCertificateIsRefused(t *testing.T) {
	swarm := testSwarm(t)
	member, other := New(NewKey(), swarm), New(NewKey(), swarm)
	client := other.Client(alpn)
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		own, err := other.certificate()
		if err != nil {
			return nil, err
		}
		chain := *own
		chain.Certificate = [][]byte{own.Certificate[0], swarm.ca.Raw}
		return &chain, nil
	}
	if _, _, err, _ := shake(t, member.Server(alpn), client); !errors.Is(err, ErrNoProof) {
		t.Errorf("got %v", err)
	}
}

func TestExpiredCertificateIsRefusedByBothSides(t *testing.T) {
	swarm := testSwarm(t)
	for what, age := range map[string]time.Duration{"expired": leafLife + time.Minute, "of the future": -leafPast - time.Minute} {
		old, now := New(NewKey(), swarm), New(NewKey(), swarm)
		issued := time.Now().Add(-age)
		old.now = func() time.Time { return issued }
		if _, err := old.certificate(); err != nil {
			t.Fatal(err)
		}
		// It judges others by the right time.
		cert := old.cert
		server, client := New(old.key, swarm).Server(alpn), New(old.key, swarm).Client(alpn)
		server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		if _, _, err, _ := shake(t, now.Server(alpn), client); !errors.Is(err, ErrExpired) {
			t.Errorf("%s, dialling: %v", what, err)
		}
		if _, _, _, err := shake(t, server, now.Client(alpn)); !errors.Is(err, ErrExpired) {
			t.Errorf("%s, dialled: %v", what, err)
		}
	}
}

func TestClocksADayApartAreServed(t *testing.T) {
	swarm := testSwarm(t)
	for _, off := range []time.Duration{-47 * time.Hour, 47 * time.Hour} {
		a, b := New(NewKey(), swarm), New(NewKey(), swarm)
		b.now = func() time.Time { return time.Now().Add(off) }
		if _, _, errA, errB := shake(t, a.Server(alpn), b.Client(alpn)); errA != nil || errB != nil {
			t.Errorf("%v apart: %v, %v", off, errA, errB)
		}
	}
}

func TestALongRunningNodeRenewsItsCertificate(t *testing.T) {
	c := New(NewKey(), testSwarm(t))
	now := time.Now()
	c.now = func() time.Time { return now }
	first, err := c.certificate()
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(leafRenew - time.Second)
	if same, err := c.certificate(); err != nil || same != first {
		t.Errorf("made anew within a day: %v", err)
	}
	now = now.Add(time.Second)
	second, err := c.certificate()
	if err != nil || second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not made anew after a day: %v", err)
	}
	now = now.Add(-time.Hour * 24 * 365) // the clock was set back
	if third, err := c.certificate(); err != nil || third.Leaf.NotBefore.After(now) {
		t.Errorf("not valid after the clock was set back: %v", err)
	}
}

// What a stranger can see of a member's certificate must not tell which swarm
// it belongs to, nor hold anything but its key.
func TestCertificateNamesNoSwarm(t *testing.T) {
	c := New(NewKey(), testSwarm(t))
	cert, err := c.certificate()
	if err != nil {
		t.Fatal(err)
	}
	l := cert.Leaf
	if len(l.AuthorityKeyId) > 0 || len(l.DNSNames)+len(l.IPAddresses)+len(l.URIs)+len(l.EmailAddresses) > 0 || len(cert.Certificate) != 1 {
		t.Errorf("the certificate says too much: %+v", l)
	}
	if l.IsCA || l.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Error("the certificate may sign others")
	}
}

func TestOtherProtocolsAreRefused(t *testing.T) {
	a, b := Ephemeral(), Ephemeral()
	client := b.Client(alpn)
	client.NextProtos, client.VerifyConnection = nil, nil
	if _, _, err, _ := shake(t, a.Server(alpn), client); !errors.Is(err, ErrProtocol) {
		t.Errorf("without a protocol: %v", err)
	}
	if _, _, errA, errB := shake(t, a.Server(alpn), b.Client("h2")); errA == nil || errB == nil {
		t.Errorf("another protocol: %v, %v", errA, errB)
	}
}
