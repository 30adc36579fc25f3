// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"pathgate/gateway/control"
)

// What stands for what only the client knows.
const (
	tlsDir  = "TLS-DIR"
	tlsName = "SERVER-NAME"
)

// attachTLS is what the first NBD address wants; only that one is printed.
func attachTLS(a *control.Attachment) control.AttachTLS {
	if len(a.TLS) == 0 {
		return control.AttachTLS{}
	}
	return a.TLS[0]
}

// tlsNote tells what the placeholders are; "" without TLS.
func tlsNote(a *control.Attachment) string {
	t := attachTLS(a)
	if !t.Required {
		return ""
	}
	text := "with TLS; " + tlsDir + " holds ca-cert.pem"
	if t.Certificate {
		text += ", client-cert.pem and client-key.pem"
	}
	if strings.HasPrefix(a.NBD[0], "unix:") {
		text += "; " + tlsName + " is a name in the gateway's certificate"
	}
	return text
}

// nbdURI is the disk for libnbd's tools, TLS or not.
func nbdURI(a *control.Attachment, export string) string {
	scheme, query := "nbd", ""
	if attachTLS(a).Required {
		scheme, query = "nbds", "tls-certificates="+tlsDir
	}
	socket, host, port := nbdAddress(a.NBD[0])
	if socket == "" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if query != "" {
			query = "?" + query
		}
		return fmt.Sprintf("%s://%s:%s/%s%s", scheme, host, port, export, query)
	}
	if query != "" {
		query = "&" + query
	}
	return fmt.Sprintf("%s+unix:///%s?socket=%s%s", scheme, export, socket, query)
}

// nbdClientTLS gives the options of nbd-client.
func nbdClientTLS(a *control.Attachment) string {
	t := attachTLS(a)
	if !t.Required {
		return ""
	}
	s := " -cacertfile " + tlsDir + "/ca-cert.pem"
	if t.Certificate {
		s += " -certfile " + tlsDir + "/client-cert.pem -keyfile " + tlsDir + "/client-key.pem"
	}
	if strings.HasPrefix(a.NBD[0], "unix:") {
		s += " -tlshostname " + tlsName
	}
	return s
}
