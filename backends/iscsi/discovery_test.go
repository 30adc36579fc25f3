// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"slices"
	"testing"

	wire "pathgate/internal/iscsi"
)

// A discovery session is tried without CHAP and gets along without digests,
// whatever the sessions behind it must have.
func TestDiscoveryOffers(t *testing.T) {
	cfg := &Config{HeaderDigest: DigestRequire, DataDigest: DigestRequire, CHAP: func(string) *CHAP {
		return &CHAP{
			User: "us", Secret: wire.NewSecret([]byte("secret-for-us")),
			MutualUser: "them", MutualSecret: wire.NewSecret([]byte("secret-for-them")),
		}
	}}
	both, crc := []wire.Digest{wire.DigestCRC32C, wire.DigestNone}, []wire.Digest{wire.DigestCRC32C}
	for _, tt := range []struct {
		target  string
		open    bool
		method  string
		digests []wire.Digest
	}{
		{"", true, "None", both},
		{"", false, "CHAP", both},
		{"iqn.2026-11.test:a", false, "CHAP", crc},
	} {
		q := &loginRequest{cfg: cfg, target: tt.target, open: tt.open}
		if s := q.settings(); !slices.Equal(s.HeaderDigest, tt.digests) || !slices.Equal(s.DataDigest, tt.digests) {
			t.Errorf("target %q: got digests %v, %v, want %v", tt.target, s.HeaderDigest, s.DataDigest, tt.digests)
		}
		a, err := q.auth()
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Start(); !slices.Contains(got, wire.KeyValue{Key: wire.KeyAuthMethod, Value: tt.method}) {
			t.Errorf("target %q: got %v, want AuthMethod=%s", tt.target, got, tt.method)
		}
	}
}
