// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"pathgate/gateway/control"
	wire "pathgate/internal/iscsi"
)

// Sessions gives the clients of both front-ends.
func (s *adminView) Sessions() (list []control.Session) {
	if s.targets != nil {
		for _, x := range s.targets.server.Sessions() {
			out := control.Session{
				Name: x.Peer.Connection, Frontend: "iscsi", Local: address(x.Peer.Local), Uses: x.Target,
				Initiator: x.Peer.Initiator, Alias: x.Peer.Alias, User: x.Peer.User,
				ISID: x.Peer.ISID.String(), TSIH: x.TSIH, Since: x.Since.UTC(),
				Outstanding: x.Commands, Window: x.Window, Completed: x.Completed, PendingBytes: x.Pending,
				Keys: negotiated(&x.Params),
			}
			if x.Target != "" {
				out.Client = iscsiOwner(&x.Peer).name
			}
			if t := s.targets.byName[strings.ToLower(x.Target)]; t != nil {
				out.VM = t.vm.Name
			}
			list = append(list, out)
		}
	}
	for _, x := range s.nbd.Connections() {
		out := control.Session{
			Name: x.Peer.Connection, Frontend: "nbd", Local: address(x.Peer.Local), Uses: x.Export,
			Since: x.Since.UTC(), Outstanding: max(x.Outstanding, 0), PendingBytes: x.Pending,
		}
		if p := x.Peer.TLS; p != nil {
			out.TLS, out.Cipher, out.Certificate = p.Version, p.Cipher, clientName(&x.Peer)
		}
		if d := s.byName[x.Export]; d != nil {
			out.VM, out.Client = d.VM(), nbdClient(&x.Peer).name
		}
		list = append(list, out)
	}
	return list
}

func address(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// negotiated gives the keys of a session that people look for, in the order of
// RFC 7143 13.
func negotiated(p *wire.Params) (keys control.Attrs) {
	add := func(key, value string) { keys = append(keys, control.Attr{Key: key, Value: value}) }
	number := func(key string, n uint32) { add(key, strconv.FormatUint(uint64(n), 10)) }
	flag := func(key string, on bool) {
		if add(key, "No"); on {
			keys[len(keys)-1].Value = "Yes"
		}
	}
	add("SessionType", p.SessionType.String())
	add("HeaderDigest", fmt.Sprint(p.HeaderDigest))
	add("DataDigest", fmt.Sprint(p.DataDigest))
	number("TargetPortalGroupTag", uint32(p.TargetPortalGroupTag))
	flag("InitialR2T", p.InitialR2T)
	flag("ImmediateData", p.ImmediateData)
	number("MaxRecvDataSegmentLength", p.MaxRecvDataSegmentLength)
	number("MaxSendDataSegmentLength", p.MaxSendDataSegmentLength)
	number("MaxBurstLength", p.MaxBurstLength)
	number("FirstBurstLength", p.FirstBurstLength)
	number("MaxOutstandingR2T", uint32(p.MaxOutstandingR2T))
	number("ErrorRecoveryLevel", uint32(p.ErrorRecoveryLevel))
	return keys
}

var _ control.SessionSource = adminSource{}
