package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"
)

func TestEphemeralCertificatesDiffer(t *testing.T) {
	a, b := ephemeral(t), ephemeral(t)
	if a.Leaf.SerialNumber.Cmp(b.Leaf.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
	if bytes.Equal(a.PrivateKey.(ed25519.PrivateKey), b.PrivateKey.(ed25519.PrivateKey)) {
		t.Error("two certificates have one key")
	}
}

func TestEphemeralCertificateIsSignedByItsOwnKeyAndNeverExpires(t *testing.T) {
	leaf := ephemeral(t).Leaf
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, now := range []time.Time{time.Unix(1, 0), time.Now(), notAfter.Add(-time.Second)} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now})
		if err != nil {
			t.Errorf("at %v: %v", now, err)
		}
	}
	if leaf.IsCA {
		t.Error("the certificate may sign others")
	}
}

func TestEphemeralCertificateServesBothSidesOfTLS13(t *testing.T) {
	server, client := net.Pipe()
	defer func() { _ = server.Close(); _ = client.Close() }()
	errs := make(chan error, 1)
	go func() {
		s := tls.Server(server, &tls.Config{
			Certificates: []tls.Certificate{ephemeral(t)},
			ClientAuth:   tls.RequireAnyClientCert,
			MinVersion:   tls.VersionTLS13,
		})
		_, err := s.Write([]byte("hello"))
		errs <- err
	}()
	c := tls.Client(client, &tls.Config{
		Certificates:       []tls.Certificate{ephemeral(t)},
		InsecureSkipVerify: true, //nolint:gosec // the test is about the handshake, not about trust
		MinVersion:         tls.VersionTLS13,
	})
	got := make([]byte, len("hello"))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

func ephemeral(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
