// Package identity owns what a node proves itself with: its ed25519 key, the
// key of a private swarm, the files that hold them, and the certificates by
// which both ends of a TLS 1.3 handshake show that they hold them.
//
// Without a swarm key a certificate is signed by the node's own key. It proves
// that the other end holds that key, and so that it is the node with that ID;
// anybody can make such a key. With a swarm key each node signs a certificate
// for its own key by that of the swarm, and takes none that is signed
// otherwise. docs/security.md tells what that is worth.
package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
)

// IDSize is the length of an ID in bytes.
const IDSize = 20

// ID is the name of a node: the first 20 bytes of the SHA-256 digest of its
// public key. The zero ID is that of a node that proved none.
type ID [IDSize]byte

// IDOf is the ID of the node whose public key this is.
func IDOf(public ed25519.PublicKey) ID {
	sum := sha256.Sum256(public)
	return ID(sum[:IDSize])
}

// IsZero reports whether id names nobody.
func (id ID) IsZero() bool { return id == ID{} }

// String is the ID in hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Key is a node's private key.
type Key struct{ private ed25519.PrivateKey }

// NewKey draws a key that is nowhere but in the result.
func NewKey() Key { return Key{ed25519.NewKeyFromSeed(newSeed())} }

// ID is the ID of the node that holds the key.
func (k Key) ID() ID { return IDOf(k.public()) }

func (k Key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// OpenKey reads a node's key from a file, and makes both when there is no such
// file; the folder is made with it (0700). See [ErrReadable] and [ErrDamaged].
func OpenKey(path string) (Key, error) {
	seed, err := openSeed(path, nodeKey)
	if err != nil {
		return Key{}, err
	}
	return Key{ed25519.NewKeyFromSeed(seed)}, nil
}
