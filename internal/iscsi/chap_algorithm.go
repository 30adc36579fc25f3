// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/md5"  //nolint:gosec // CHAP algorithm 5 is mandatory in RFC 7143 12.1.3
	"crypto/sha1" //nolint:gosec // CHAP algorithm 6, for peers that have nothing better
	"crypto/sha256"
	"crypto/sha3"
	"hash"
	"strconv"
)

// MaxCHAPBinary is the length in bytes of the longest challenge or response. RFC 7143 12.1.3.
const MaxCHAPBinary = 1024

// CHAPAlgorithm is a CHAP_A value. RFC 7143 12.1.3 (Challenge Handshake Authentication Protocol (CHAP)) has 5; the
// others are in IANA's registry "PPP Authentication Algorithms".
type CHAPAlgorithm uint8

// The CHAP algorithms.
const (
	CHAPMD5     CHAPAlgorithm = 5
	CHAPSHA1    CHAPAlgorithm = 6
	CHAPSHA256  CHAPAlgorithm = 7
	CHAPSHA3256 CHAPAlgorithm = 8
)

// String returns the name of the hash.
func (a CHAPAlgorithm) String() string {
	switch a {
	case CHAPMD5:
		return "MD5"
	case CHAPSHA1:
		return "SHA-1"
	case CHAPSHA256:
		return "SHA-256"
	case CHAPSHA3256:
		return "SHA3-256"
	}
	return "CHAP algorithm " + strconv.Itoa(int(a))
}

// newHash returns nil for an unknown algorithm.
func (a CHAPAlgorithm) newHash() hash.Hash {
	switch a {
	case CHAPMD5:
		return md5.New() //nolint:gosec // see the import
	case CHAPSHA1:
		return sha1.New() //nolint:gosec // see the import
	case CHAPSHA256:
		return sha256.New()
	case CHAPSHA3256:
		return sha3.New256()
	}
	return nil
}

// response returns the CHAP_R bytes: hash(identifier, secret, challenge). RFC 1994 4.1 (Challenge and Response). The
// algorithm is known.
func (a CHAPAlgorithm) response(id byte, secret Secret, challenge []byte) []byte {
	h := a.newHash()
	h.Write([]byte{id})
	h.Write(secret.reveal())
	h.Write(challenge)
	return h.Sum(nil)
}
