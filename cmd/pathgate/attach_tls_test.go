// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway/control"
)

// What is printed for each kind of address, and what TLS it wants.
func TestAttachTLS(t *testing.T) {
	disks := []control.AttachDisk{{Name: "root", Export: "vm1/root"}}
	for _, tt := range []struct {
		addr string
		tls  []control.AttachTLS
		want []string // in any of the three
		not  []string
		uri  string
	}{
		{"192.0.2.1:10809", nil, nil, []string{"tls", "TLS"}, "nbd://192.0.2.1:10809/vm1/root"},
		{"unix:/s", []control.AttachTLS{{}}, nil, []string{"tls", "TLS"}, "nbd+unix:///vm1/root?socket=/s"},
		{
			"192.0.2.1:10809",
			[]control.AttachTLS{{Required: true}},
			[]string{"-object tls-creds-x509,id=pathgate-tls,endpoint=client,dir=TLS-DIR\n", `"tls-creds":"pathgate-tls"`, `tls="yes"`, " -cacertfile TLS-DIR/ca-cert.pem\n"},
			[]string{"tls-hostname", "tlshostname", "client-cert"},
			"nbds://192.0.2.1:10809/vm1/root?tls-certificates=TLS-DIR",
		},
		{
			"[fd00::1]:10809",
			[]control.AttachTLS{{Required: true, Certificate: true}},
			[]string{" -cacertfile TLS-DIR/ca-cert.pem -certfile TLS-DIR/client-cert.pem -keyfile TLS-DIR/client-key.pem\n"},
			[]string{"tls-hostname"},
			"nbds://[fd00::1]:10809/vm1/root?tls-certificates=TLS-DIR",
		},
		{
			"unix:/s",
			[]control.AttachTLS{{Required: true}},
			[]string{`"tls-hostname":"SERVER-NAME"`, " -tlshostname SERVER-NAME\n", "SERVER-NAME is a name in the gateway's certificate"},
			nil, "nbds+unix:///vm1/root?socket=/s&tls-certificates=TLS-DIR",
		},
	} {
		a := &control.Attachment{VM: "vm1", NBD: []string{tt.addr}, TLS: tt.tls, Disks: disks}
		qemu, err := attachQEMU(a)
		if err != nil {
			t.Fatal(err)
		}
		all := qemu + attachLinux(a) + attachLibvirt(a)
		for _, want := range tt.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s %v: no %q in\n%s", tt.addr, tt.tls, want, all)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(all, not) {
				t.Errorf("%s %v: %q in\n%s", tt.addr, tt.tls, not, all)
			}
		}
		if got := nbdURI(a, "vm1/root"); got != tt.uri {
			t.Errorf("got %s, want %s", got, tt.uri)
		}
	}
}
