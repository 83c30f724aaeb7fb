package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Why the other end of a handshake is refused.
var (
	// ErrNoProof: it did not prove to hold an ed25519 key.
	ErrNoProof = errors.New("it proved no identity")
	// ErrForeign: it does not hold this swarm's key.
	ErrForeign = errors.New("it does not belong to this private swarm: it holds another swarm key, or none")
	// ErrPrivate: it holds a swarm key, and this node was given none.
	ErrPrivate = errors.New("it belongs to a private swarm, and this node was given no swarm key")
	// ErrExpired: its certificate is not valid now.
	ErrExpired = errors.New("its certificate is not valid at this time: is one of the two clocks wrong?")
	// ErrProtocol: it speaks TLS, and then another protocol.
	ErrProtocol = errors.New("it does not speak the protocol of mtor")
	// ErrRefused: it is the other end that broke off the handshake.
	ErrRefused = errors.New("it refused this node's certificate: only one of the two was given a swarm key, or they were given different ones, or one of the clocks is wrong")
)

// Credentials are what a node proves itself with.
type Credentials struct {
	key   Key
	swarm *Swarm // nil: an open swarm
	now   func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate
	made time.Time
}

// New makes the credentials of the node that holds key, in a private swarm
// unless swarm is nil.
func New(key Key, swarm *Swarm) *Credentials {
	return &Credentials{key: key, swarm: swarm, now: time.Now}
}

// Ephemeral are the credentials of a node of an open swarm whose key lives as
// long as the process at most.
func Ephemeral() *Credentials { return New(NewKey(), nil) }

// ID is the node's own.
func (c *Credentials) ID() ID { return c.key.ID() }

// Private reports whether a swarm key is proven and wanted.
func (c *Credentials) Private() bool { return c.swarm != nil }

// Server and Client are the two sides' settings for TLS 1.3, and for QUIC. In
// a handshake under them both sides prove that they hold the key of the
// certificate that they present, and in a private swarm that of the swarm;
// [Peer] then names the other one. There is no resumption: every handshake
// proves anew. alpn names the protocol (RFC 7301).
func (c *Credentials) Server(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate() },
		VerifyConnection:       func(s tls.ConnectionState) error { return c.verify(s, alpn) },
	}
}

// Client is described at Server.
func (c *Credentials) Client(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		NextProtos:           []string{alpn},
		InsecureSkipVerify:   true, //nolint:gosec // there are no names to verify: VerifyConnection looks at the keys
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate() },
		VerifyConnection:     func(s tls.ConnectionState) error { return c.verify(s, alpn) },
	}
}

// Peer is the ID of the other end of a handshake that was made under the
// settings of Server or Client.
func Peer(s tls.ConnectionState) ID {
	if len(s.PeerCertificates) == 0 {
		return ID{}
	}
	public, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return ID{}
	}
	return IDOf(public)
}

// certificate is the node's own, made anew when it has grown old.
func (c *Credentials) certificate() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if age := now.Sub(c.made); c.cert != nil && age >= 0 && age < leafRenew {
		return c.cert, nil
	}
	from, to := always, forever
	if c.swarm != nil {
		from, to = now.Add(-leafPast), now.Add(leafLife)
	}
	cert, err := leaf(c.key, c.swarm, from, to)
	if err != nil {
		return nil, err
	}
	c.made = now
	c.cert = &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: c.key.private, Leaf: cert}
	return c.cert, nil
}

// verify decides on the other end. That it holds the private key of its
// certificate, the handshake itself has proven (RFC 8446, section 4.4.3).
func (c *Credentials) verify(s tls.ConnectionState, alpn string) error {
	if s.NegotiatedProtocol != alpn {
		return ErrProtocol
	}
	if len(s.PeerCertificates) != 1 {
		return fmt.Errorf("%w: %d certificates, want one", ErrNoProof, len(s.PeerCertificates))
	}
	cert := s.PeerCertificates[0]
	if _, ok := cert.PublicKey.(ed25519.PublicKey); !ok {
		return fmt.Errorf("%w: a key of another kind than ed25519", ErrNoProof)
	}
	roots := x509.NewCertPool()
	if c.swarm != nil {
		roots = c.swarm.roots
	} else if cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
		roots.AddCert(cert)
	} else {
		return ErrPrivate
	}
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w (%s)", ErrExpired, invalid.Detail)
	case c.swarm != nil:
		return ErrForeign
	}
	return fmt.Errorf("%w: %w", ErrNoProof, err)
}
