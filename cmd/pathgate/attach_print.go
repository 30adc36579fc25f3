// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"strings"

	"pathgate/gateway/control"
)

// digestsRequired is an AttachTarget's Digests that initiators have to heed.
const digestsRequired = "require"

// attachQEMU gives options of QEMU, one disk in each line.
func attachQEMU(a *control.Attachment) (string, error) {
	var b strings.Builder
	option := func(node string, v map[string]any, d *control.AttachDisk) error {
		v["node-name"], v["discard"] = node, "unmap"
		if d.ReadOnly {
			v["read-only"] = true
		}
		js, err := json.Marshal(v)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "-blockdev %s -device virtio-blk-pci,drive=%s\n", shellQuote(string(js)), node)
		return nil
	}
	if t := a.ISCSI; t != nil {
		fmt.Fprintf(&b, "# over iSCSI, portals: %s\n", strings.Join(t.Portals, " "))
		if t.Digests == digestsRequired {
			fmt.Fprintf(&b, "# refused by digests: require, since QEMU has no data digests: use NBD, or digests: prefer\n")
		}
		if t.User != "" {
			fmt.Fprintf(&b, "# SECRET-FILE ends without a newline: to QEMU that is part of the secret\n")
			fmt.Fprintf(&b, "-object secret,id=pathgate-chap,file=SECRET-FILE\n")
		}
		for i := range a.Disks {
			d := &a.Disks[i]
			fmt.Fprintf(&b, "# %s\n", note(d))
			v := map[string]any{
				"driver": "iscsi", "transport": "tcp", "portal": t.Portals[0], "target": t.Name, "lun": d.LUN,
				"cache": map[string]bool{"direct": true},
			}
			if t.User != "" {
				v["user"], v["password-secret"] = t.User, "pathgate-chap"
			}
			if len(t.Initiators) > 0 {
				v["initiator-name"] = t.Initiators[0]
			}
			if err := option(fmt.Sprintf("pathgate-lun%d", d.LUN), v, d); err != nil {
				return "", err
			}
		}
	}
	if len(a.NBD) > 0 {
		fmt.Fprintf(&b, "# over NBD, addresses: %s\n", strings.Join(a.NBD, " "))
		if note := tlsNote(a); note != "" {
			fmt.Fprintf(&b, "# %s\n-object tls-creds-x509,id=pathgate-tls,endpoint=client,dir=%s\n", note, tlsDir)
		}
		for i := range a.Disks {
			d := &a.Disks[i]
			fmt.Fprintf(&b, "# %s\n", note(d))
			server := map[string]string{"type": "inet"}
			if socket, host, port := nbdAddress(a.NBD[0]); socket != "" {
				server = map[string]string{"type": "unix", "path": socket}
			} else {
				server["host"], server["port"] = host, port
			}
			v := map[string]any{"driver": "nbd", "server": server, "export": d.Export, "reconnect-delay": 300}
			if attachTLS(a).Required {
				v["tls-creds"] = "pathgate-tls"
				if server["type"] == "unix" {
					v["tls-hostname"] = tlsName
				}
			}
			if err := option(fmt.Sprintf("pathgate-nbd%d", i), v, d); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// attachLinux gives the commands of open-iscsi and nbd-client.
func attachLinux(a *control.Attachment) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if t := a.ISCSI; t != nil {
		p("# over iSCSI, with open-iscsi")
		if len(t.Initiators) > 0 {
			p("# /etc/iscsi/initiatorname.iscsi: InitiatorName=%s", strings.Join(t.Initiators, " or "))
		}
		if t.User != "" {
			p("# /etc/iscsi/iscsid.conf, before the first command; node.session.auth.password is the content of SECRET-FILE:")
			p("#   node.session.auth.authmethod = CHAP")
			p("#   node.session.auth.username = %s", t.User)
		}
		if t.MutualUser != "" {
			p("# and for the gateway to prove itself; node.session.auth.password_in is its own secret:")
			p("#   node.session.auth.username_in = %s", t.MutualUser)
		}
		if t.Digests == digestsRequired {
			p("# /etc/iscsi/iscsid.conf too, since others are refused (digests: require):")
			p("#   node.conn[0].iscsi.HeaderDigest = CRC32C")
			p("#   node.conn[0].iscsi.DataDigest = CRC32C")
		}
		for _, portal := range t.Portals {
			p("iscsiadm -m node -T %s -p %s -o new", t.Name, shellQuote(portal))
			p("iscsiadm -m node -T %s -p %s --login", t.Name, shellQuote(portal))
		}
		for i := range a.Disks {
			p("# %s:", note(&a.Disks[i]))
			for _, portal := range t.Portals {
				p("ls -l %s", shellQuote(fmt.Sprintf("/dev/disk/by-path/ip-%s-iscsi-%s-lun-%d", portal, t.Name, a.Disks[i].LUN)))
			}
		}
	}
	if len(a.NBD) > 0 {
		p("# over NBD, with nbd-client; mounted file systems outlive the gateway's restarts with pathgate attach VM/DISK --nbd-device alone")
		if note := tlsNote(a); note != "" {
			p("# %s", note)
		}
		p("modprobe nbd")
		for i := range a.Disks {
			d := &a.Disks[i]
			p("# %s", note(d))
			where := ""
			if socket, host, port := nbdAddress(a.NBD[0]); socket != "" {
				where = "-unix " + shellQuote(socket)
			} else {
				where = shellQuote(host) + " " + port
			}
			more := ""
			if d.ReadOnly {
				more = " -readonly"
			}
			p("nbd-client %s /dev/nbd%d -name %s -persist%s%s", where, i, shellQuote(d.Export), more, nbdClientTLS(a))
			if attachTLS(a).Required {
				p("nbdinfo %s", shellQuote(nbdURI(a, d.Export)))
			}
		}
	}
	return b.String()
}

// diskElement is a disk of a libvirt domain.
type diskElement struct {
	XMLName xml.Name `xml:"disk"`
	Type    string   `xml:"type,attr"`
	Device  string   `xml:"device,attr"`
	Driver  struct {
		Name    string `xml:"name,attr"`
		Type    string `xml:"type,attr"`
		Cache   string `xml:"cache,attr"`
		Discard string `xml:"discard,attr"`
	} `xml:"driver"`
	Source struct {
		Protocol  string        `xml:"protocol,attr"`
		Name      string        `xml:"name,attr"`
		TLS       string        `xml:"tls,attr,omitempty"`
		Host      hostElement   `xml:"host"`
		Auth      *authElement  `xml:"auth"`
		Initiator *initiatorXML `xml:"initiator"`
		Reconnect *reconnectXML `xml:"reconnect"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
		Bus string `xml:"bus,attr"`
	} `xml:"target"`
	ReadOnly *struct{} `xml:"readonly"`
}

type hostElement struct {
	Name      string `xml:"name,attr,omitempty"`
	Port      string `xml:"port,attr,omitempty"`
	Transport string `xml:"transport,attr,omitempty"`
	Socket    string `xml:"socket,attr,omitempty"`
}

type authElement struct {
	Username string `xml:"username,attr"`
	Secret   struct {
		Type  string `xml:"type,attr"`
		Usage string `xml:"usage,attr"`
	} `xml:"secret"`
}

type initiatorXML struct {
	IQN struct {
		Name string `xml:"name,attr"`
	} `xml:"iqn"`
}

type reconnectXML struct {
	Delay int `xml:"delay,attr"`
}

// attachLibvirt gives disk elements.
func attachLibvirt(a *control.Attachment) string {
	var b strings.Builder
	element := func(i int, protocol, name string, fill func(*diskElement)) {
		d := diskElement{Type: "network", Device: "disk"}
		d.Driver.Name, d.Driver.Type, d.Driver.Cache, d.Driver.Discard = "qemu", "raw", "none", "unmap"
		d.Source.Protocol, d.Source.Name = protocol, name
		d.Target.Dev, d.Target.Bus = "vd"+letters(i), "virtio"
		if a.Disks[i].ReadOnly {
			d.ReadOnly = &struct{}{}
		}
		fill(&d)
		out, _ := xml.MarshalIndent(d, "", "  ") // of strings only: there is no error
		fmt.Fprintf(&b, "<!-- %s -->\n%s\n", strings.ReplaceAll(note(&a.Disks[i]), "--", "- -"), out)
	}
	if t := a.ISCSI; t != nil {
		fmt.Fprintf(&b, "<!-- over iSCSI, portals: %s -->\n", strings.Join(t.Portals, " "))
		if t.User != "" {
			fmt.Fprintf(&b, "<!-- with a secret of usage type iscsi and target pathgate-%s, set from SECRET-FILE -->\n", a.VM)
		}
		for i := range a.Disks {
			element(i, "iscsi", fmt.Sprintf("%s/%d", t.Name, a.Disks[i].LUN), func(d *diskElement) {
				d.Source.Host.Name, d.Source.Host.Port, _ = net.SplitHostPort(t.Portals[0])
				if t.User != "" {
					d.Source.Auth = &authElement{Username: t.User}
					d.Source.Auth.Secret.Type, d.Source.Auth.Secret.Usage = "iscsi", "pathgate-"+a.VM
				}
				if len(t.Initiators) > 0 {
					d.Source.Initiator = &initiatorXML{}
					d.Source.Initiator.IQN.Name = t.Initiators[0]
				}
			})
		}
	}
	if len(a.NBD) > 0 {
		fmt.Fprintf(&b, "<!-- over NBD, addresses: %s -->\n", strings.Join(a.NBD, " "))
		if note := tlsNote(a); note != "" {
			fmt.Fprintf(&b, "<!-- %s: nbd_tls_x509_cert_dir of qemu.conf -->\n", note)
		}
		for i := range a.Disks {
			element(i, "nbd", a.Disks[i].Export, func(d *diskElement) {
				socket, host, port := nbdAddress(a.NBD[0])
				if socket != "" {
					d.Source.Host = hostElement{Transport: "unix", Socket: socket}
				} else {
					d.Source.Host = hostElement{Name: host, Port: port}
				}
				d.Source.Reconnect = &reconnectXML{Delay: 300}
				if attachTLS(a).Required {
					d.Source.TLS = "yes"
				}
			})
		}
	}
	return b.String()
}

// letters counts a, b, ... z, aa, as disks do.
func letters(i int) string {
	s := ""
	for i++; i > 0; i = (i - 1) / 26 {
		s = string(rune('a'+(i-1)%26)) + s
	}
	return s
}
