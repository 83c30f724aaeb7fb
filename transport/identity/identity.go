// Package identity owns the key by which a node is known and the certificate
// that it presents when a connection is encrypted.
//
// The certificate is self-signed and is accepted from anyone: it lets a
// connection be encrypted and says nothing about who is at the other end.
// Whoever stands in the middle of the path can stand in for either side. What
// a download holds is safe all the same, because every piece is checked
// against the SHA-1 digest that its .mtorrent names.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// The certificate is valid at any time: it vouches for no name, so there is
// nothing that could expire, and a peer whose clock is wrong is served too.
// The end is the value that RFC 5280, section 4.1.2.5, sets aside for this.
var (
	notBefore = time.Unix(0, 0).UTC()
	notAfter  = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// serialBits is the length of a random serial number; RFC 5280, section
// 4.1.2.2, allows 20 octets.
const serialBits = 128

// Ephemeral makes a new ed25519 key and a self-signed certificate for it, for
// servers and clients alike. The key is nowhere but in the result, so it lives
// as long as the process at most.
func Ephemeral() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make an ed25519 key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("draw a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "mtor"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign the certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read back the certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}
