package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// A certificate of a swarm is made anew by each node at its start and then
// every leafRenew. leafPast and leafLife are how far the clocks of two nodes
// may be apart, so that a lab machine whose clock is wrong by a day is served;
// nobody can use one that was stolen from a node's memory for longer than
// leafLife.
const (
	leafPast  = 48 * time.Hour
	leafLife  = 7 * 24 * time.Hour
	leafRenew = 24 * time.Hour
)

// The certificate of a key as such is valid at any time: there is nothing that
// could expire, and a node whose clock is wrong is served too. The end is the
// value that RFC 5280, section 4.1.2.5, sets aside for this.
var (
	always  = time.Unix(0, 0).UTC()
	forever = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// serialBits is the length of a random serial number; RFC 5280, section
// 4.1.2.2, allows 20 octets.
const serialBits = 128

// Swarm is the key that makes its holders a private swarm: each can prove to
// each other that it holds it, and nobody else can.
type Swarm struct {
	private ed25519.PrivateKey
	ca      *x509.Certificate
	roots   *x509.CertPool
}

// CreateSwarm makes a new swarm key and writes it to a file, which must not
// exist (the error then matches fs.ErrExist).
func CreateSwarm(path string) error {
	return createFile(path, encodeSeed(newSeed(), swarmKey))
}

// OpenSwarm reads a swarm key from a file. See [ErrReadable] and [ErrDamaged].
func OpenSwarm(path string) (*Swarm, error) {
	seed, err := readSeed(path, swarmKey)
	if err != nil {
		return nil, err
	}
	s := &Swarm{private: ed25519.NewKeyFromSeed(seed), roots: x509.NewCertPool()}
	// Every holder makes the same authority out of the key; it goes over no
	// wire, and has no key identifier that would tell one swarm from another.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mtor swarm"},
		NotBefore: always, NotAfter: forever,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if s.ca, err = sign(template, template, s.private.Public(), s.private); err != nil {
		return nil, err
	}
	s.ca.SubjectKeyId = nil
	s.roots.AddCert(s.ca)
	return s, nil
}

// leaf is a certificate for a node's key, signed by parent's key; without one,
// by the node's own.
func leaf(key Key, parent *Swarm, from, to time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mtor"},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		return sign(template, template, key.public(), key.private)
	}
	return sign(template, parent.ca, key.public(), parent.private)
}

func sign(template, parent *x509.Certificate, public any, by ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate: %w", err)
	}
	return cert, nil
}
