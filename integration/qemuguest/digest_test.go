// SPDX-License-Identifier: Apache-2.0

//go:build integration

package qemuguest

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// TestQEMUDigests: the header digests that QEMU can be told to use are used. It has no
// data digests, so a gateway that requires them is none for it.
func TestQEMUDigests(t *testing.T) {
	for _, tt := range []struct {
		digests, asked, used string // used "": it is refused
	}{
		{"prefer", "", "None"},
		{"prefer", "crc32c", "CRC32C"},
		{"prefer", "crc32c-none", "CRC32C"},
		{"prefer", "none", "None"},
		{"off", "crc32c-none", "None"},
		{"off", "crc32c", ""},
		{"require", "crc32c", ""},
	} {
		t.Run(tt.digests+" "+tt.asked, func(t *testing.T) {
			b := newBed(t, options{Config: gate.Config{
				ISCSI: ", digests: " + tt.digests,
				Disks: []string{`{name: root, file: "` + filepath.Join(t.TempDir(), "root") + `", size: 1MiB}`},
			}})
			object, blockdev := node(t, b.attach(t, "iscsi"))
			if tt.asked != "" {
				blockdev = strings.Replace(blockdev, "{", `{"header-digest":"`+tt.asked+`",`, 1)
			}
			if tt.used == "" {
				out, err := try(t, "qemu-img", "info", "--object", object, "json:"+blockdev)
				if err == nil {
					t.Errorf("it is let in: %s", out)
				}
				return
			}
			c := storage(t, object, blockdev, "pathgate-lun0")
			want, got := bytes.Repeat([]byte("digested"), 16<<10), make([]byte, 128<<10)
			if _, err := c.WriteAt(want, 512<<10); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadAt(got, 512<<10); err != nil || !bytes.Equal(got, want) {
				t.Errorf("it reads something else: %v", err)
			}
			b.wantSession(t, map[string]string{"HeaderDigest": tt.used, "DataDigest": "None"})
		})
	}
}

// TestQEMUDigestURL: QEMU that is given a digest in a URL either works or dies before it
// has connected to anybody: it is no answer of ours that it dies of.
func TestQEMUDigestURL(t *testing.T) {
	b := newBed(t, options{front: true, Config: gate.Config{
		VM:    "{chap: {user: " + user + ", secret-file: " + secretFile(t) + "}}",
		Disks: []string{`{name: root, file: "` + filepath.Join(t.TempDir(), "root") + `", size: 1MiB}`},
	}})
	url := "iscsi://" + user + "%" + secret + "@" + b.portal + "/" + prefix + "vm1/0"
	demand(t, run(t, "qemu-img", "info", url), "virtual size: 1 MiB")
	before := b.front.Counters().Connections
	out, err := try(t, "qemu-img", "info", url+"?header_digest=crc32c")
	switch after := b.front.Counters().Connections; {
	case err == nil:
		demand(t, out, "virtual size: 1 MiB")
	case after != before:
		t.Errorf("%v, after it connected: %s", err, out)
	default:
		t.Logf("measured: %v before it connects", err)
	}
	// The same library takes it from others that make their context first.
	demand(t, run(t, "iscsi-inq", url+"?header_digest=crc32c"), "PATHGATE")
}
