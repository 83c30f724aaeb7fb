package transporttest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// Swarm is a private swarm for tests.
type Swarm struct{ file string }

// NewSwarm makes a swarm with a key of its own.
func NewSwarm(t testing.TB) Swarm {
	t.Helper()
	s := Swarm{filepath.Join(t.TempDir(), "swarm.key")}
	if err := identity.CreateSwarm(s.file); err != nil {
		t.Fatal(err)
	}
	return s
}

// Member makes the credentials of a new member.
func (s Swarm) Member(t testing.TB) *identity.Credentials {
	t.Helper()
	swarm, err := identity.OpenSwarm(s.file)
	if err != nil {
		t.Fatal(err)
	}
	return identity.New(identity.NewKey(), swarm)
}

// Intruder is one who tries to get into a swarm.
type Intruder struct {
	Name string
	// Reason is why one is refused who dials so.
	Reason transport.Reason
	// Dial and Listen are the settings of one who takes anybody for a friend.
	Dial, Listen *tls.Config
}

// Intruders are those whom a member of s must turn away, whether they dial or
// are dialled. alpn is the protocol that they claim to speak.
func (s Swarm) Intruders(t testing.TB, alpn string) []Intruder {
	t.Helper()
	ca := s.authority(t)
	other := NewSwarm(t).authority(t)
	own := newNode(t)
	now := time.Now()
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	fresh := template(hour(-1), hour(1))

	member := newNode(t) // whose certificate was seen, and whose key was not
	stolen := tls.Certificate{Certificate: [][]byte{certify(t, fresh, ca, member.Public())}, PrivateKey: own}
	// A member's certificate must not vouch for another.
	between := holder{own, template(hour(-1), hour(1))}
	between.cert.Raw = certify(t, fresh, ca, own.Public())
	below := newNode(t)
	rsaLike, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificates := []struct {
		name string
		why  transport.Reason
		cert *tls.Certificate
	}{
		{"NoCertificate", transport.ReasonNoKey, nil},
		{"NoSwarmKey", transport.ReasonForeign, selfSigned(t, own, fresh)},
		{"WrongSwarmKey", transport.ReasonForeign, issued(t, fresh, other, own)},
		{"ExpiredCertificate", transport.ReasonExpired, issued(t, template(hour(-48), hour(-1)), ca, own)},
		{"CertificateOfTheFuture", transport.ReasonExpired, issued(t, template(hour(1), hour(48)), ca, own)},
		{"StolenCertificate", transport.ReasonNoKey, &stolen},
		{"CertificateByAMember", transport.ReasonNoKey, &tls.Certificate{
			Certificate: [][]byte{certify(t, fresh, between, below.Public()), between.cert.Raw}, PrivateKey: below,
		}},
		{"CertificateWithTheSwarmsName", transport.ReasonForeign, issued(t, fresh, holder{own, ca.cert}, own)},
		{"KeyOfAnotherKind", transport.ReasonNoKey, &tls.Certificate{
			Certificate: [][]byte{certify(t, fresh, ca, rsaLike.Public())}, PrivateKey: rsaLike,
		}},
	}
	var all []Intruder
	for _, c := range certificates {
		in := Intruder{Name: c.name, Reason: c.why, Dial: &tls.Config{
			NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, //nolint:gosec // an intruder
		}}
		if c.cert != nil {
			// Whatever the other side asks for.
			in.Dial.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
			in.Listen = &tls.Config{
				NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13,
				Certificates: []tls.Certificate{*c.cert}, ClientAuth: tls.RequestClientCert,
			}
		}
		all = append(all, in)
	}
	return all
}

// holder is who signs certificates.
type holder struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

// authority is what the holders of the swarm's key sign with, made by one who
// has read the file.
func (s Swarm) authority(t testing.TB) holder {
	t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no key in %q", text)
	}
	return holder{ed25519.NewKeyFromSeed(block.Bytes), &x509.Certificate{Subject: pkix.Name{CommonName: "mtor swarm"}}}
}

func newNode(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(from, to time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "mtor"},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func certify(t testing.TB, what *x509.Certificate, by holder, public any) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, what, by.cert, public, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func issued(t testing.TB, what *x509.Certificate, by holder, to ed25519.PrivateKey) *tls.Certificate {
	t.Helper()
	return &tls.Certificate{Certificate: [][]byte{certify(t, what, by, to.Public())}, PrivateKey: to}
}

func selfSigned(t testing.TB, key ed25519.PrivateKey, what *x509.Certificate) *tls.Certificate {
	t.Helper()
	return issued(t, what, holder{key, what}, key)
}
