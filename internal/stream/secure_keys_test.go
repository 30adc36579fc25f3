// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"strings"
	"testing"
	"time"
)

// keys sends records of TLS 1.3 as a client of package tls does not (RFC 8446 5.2, 7.2).
type keys struct {
	hash   func() hash.Hash
	length int // of the key
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newKeys takes the client's keys from the log of a handshake that has just ended.
func newKeys(t *testing.T, suite uint16, log string) *keys {
	t.Helper()
	k := &keys{hash: sha256.New, length: 16}
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		k.hash, k.length = sha512.New384, 32
	default:
		t.Fatalf("cipher %s", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			k.use(t, secret)
			return k
		}
	}
	t.Fatalf("no secret in %q", log)
	return nil
}

func (k *keys) use(t *testing.T, secret []byte) {
	t.Helper()
	block, err := aes.NewCipher(k.expand(t, secret, "key", k.length))
	if err == nil {
		k.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.secret, k.iv, k.seq = secret, k.expand(t, secret, "iv", 12), 0
}

// expand is HKDF-Expand-Label without a context.
func (k *keys) expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label))), label...), 0)
	b, err := hkdf.Expand(k.hash, secret, string(info), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// appendRecord adds an encrypted record of a type.
func (k *keys) appendRecord(b []byte, typ byte, data []byte) []byte {
	inner := append(bytes.Clone(data), typ)
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(inner)+k.aead.Overhead()))
	nonce := bytes.Clone(k.iv)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^k.seq)
	k.seq++
	return append(b, k.aead.Seal(header, nonce, inner, header)...)
}

// appendUpdate adds a KeyUpdate that asks for one in return.
func (k *keys) appendUpdate(t *testing.T, b []byte) []byte {
	t.Helper()
	b = k.appendRecord(b, 22, []byte{24, 0, 0, 1, 1})
	k.use(t, k.expand(t, k.secret, "traffic upd", k.hash().Size()))
	return b
}

// P15: a peer that has the TLS library answer, and takes none of the answers, is given up
// before they are much. One that takes them may go on.
func TestSecureLibraryAnswers(t *testing.T) {
	for name, deaf := range map[string]bool{"deaf": true, "hearing": false} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			near, in, q, far := securePairWith(t, nil, &tls.Config{KeyLogWriter: &log, MinVersion: tls.VersionTLS13})
			defer func() { near.Close(); q.Close(); in.Close() }()
			k := newKeys(t, far.ConnectionState().CipherSuite, log.String())
			socket := far.NetConn()
			if err := socket.SetDeadline(time.Time{}); err != nil { // that of pair is too short for a loaded machine
				t.Fatal(err)
			}
			if !deaf {
				go func() { _, _ = io.Copy(io.Discard, socket) }() // package tls would not bear it either
			}
			const updates = 30_000 // several times what is held and what sockets take
			sent := make(chan error, 1)
			go func() {
				for n := 0; n < updates; n += 160 {
					var b []byte
					for i := range 160 {
						if b = k.appendUpdate(t, b); i%16 == 15 {
							b = k.appendRecord(b, 23, []byte{'x'}) // or there are too many in a row
						}
					}
					if _, err := socket.Write(b); err != nil {
						near.Close() // or Fill waits for more
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			var err error
			for got := 0; got < updates/16 && err == nil; got += in.Discard(readChunk) {
				err = in.Fill()
				if held := q.secure.held(); held > maxHeld+readChunk+recordBytes {
					t.Fatalf("%d bytes of answers are held", held)
				}
			}
			near.Close()
			if <-sent; deaf != (err != nil) {
				t.Errorf("deaf %t: got %v", deaf, err)
			}
		})
	}
}
