// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"strconv"
	"strings"
	"testing"
)

func initiatorSettings() Settings {
	s := DefaultSettings()
	s.InitiatorName, s.TargetName = "iqn.2026-11.test:i", "iqn.2026-11.test:t"
	return s
}

func newNegotiator(t testing.TB, role Role, s Settings) *Negotiator {
	t.Helper()
	n, err := NewNegotiator(role, s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// login runs both sides through the operational stage and returns their outcomes.
func login(i, r *Negotiator) (ip, tp Params, err error) {
	out := i.Offer(OperationalNegotiation)
	for range 10 {
		answer, err := r.Receive(OperationalNegotiation, out)
		if err != nil {
			return ip, tp, err
		}
		answer = append(answer, r.Offer(OperationalNegotiation)...)
		last := !r.Pending()
		if out, err = i.Receive(OperationalNegotiation, answer); err != nil {
			return ip, tp, err
		}
		if last {
			break
		}
	}
	if ip, err = i.Finish(); err != nil {
		return ip, tp, err
	}
	tp, err = r.Finish()
	return ip, tp, err
}

func TestNegotiationOutcome(t *testing.T) {
	is, ts := initiatorSettings(), DefaultSettings()
	is.InitiatorAlias, ts.TargetAlias, ts.TargetPortalGroupTag = "host a", "disk 1", 7
	is.HeaderDigest, ts.HeaderDigest = []Digest{DigestCRC32C, DigestNone}, []Digest{DigestNone, DigestCRC32C}
	is.DataDigest = []Digest{DigestNone, DigestCRC32C}
	is.InitialR2T, ts.InitialR2T = false, false
	is.MaxRecvDataSegmentLength, ts.MaxRecvDataSegmentLength = 262144, 65536
	is.MaxBurstLength, ts.MaxBurstLength = 16776192, 1<<20
	is.FirstBurstLength, ts.FirstBurstLength = 262144, 131072
	is.MaxOutstandingR2T, ts.MaxOutstandingR2T = 8, 4
	is.MaxConnections, ts.MaxConnections = 1, 4
	is.DefaultTime2Wait, ts.DefaultTime2Wait = 0, 5
	is.DefaultTime2Retain, ts.DefaultTime2Retain = 60, 0
	is.TaskReporting = []TaskReporting{ReportFastAbort, ReportResponseFence, ReportRFC3720}
	ts.TaskReporting = []TaskReporting{ReportResponseFence, ReportRFC3720}
	is.ProtocolLevel, ts.ProtocolLevel = 2, 1
	ip, tp, err := login(newNegotiator(t, Initiator, is), newNegotiator(t, Target, ts))
	if err != nil {
		t.Fatal(err)
	}
	want := Params{
		InitiatorName: is.InitiatorName, TargetName: is.TargetName, InitiatorAlias: "host a", TargetAlias: "disk 1",
		TargetPortalGroupTag: 7, HasTargetPortalGroupTag: true, HeaderDigest: DigestCRC32C, DataDigest: DigestNone,
		MaxConnections: 1, InitialR2T: false, ImmediateData: true, MaxRecvDataSegmentLength: 262144, MaxSendDataSegmentLength: 65536,
		MaxBurstLength: 1 << 20, FirstBurstLength: 131072, DefaultTime2Wait: 5, DefaultTime2Retain: 0, MaxOutstandingR2T: 4,
		DataPDUInOrder: true, DataSequenceInOrder: true, TaskReporting: ReportResponseFence, ProtocolLevel: 1,
	}
	if ip != want {
		t.Errorf("initiator: got %+v\nwant %+v", ip, want)
	}
	want.MaxRecvDataSegmentLength, want.MaxSendDataSegmentLength = 65536, 262144
	if tp != want {
		t.Errorf("target: got %+v\nwant %+v", tp, want)
	}
	if got, want := ip.SendFraming(), (Framing{HeaderDigest: true, MaxData: 65536}); got != want {
		t.Errorf("send framing %+v, want %+v", got, want)
	}
	if got, want := ip.RecvFraming(), (Framing{HeaderDigest: true, MaxData: 262144}); got != want {
		t.Errorf("receive framing %+v, want %+v", got, want)
	}
}

// TestNegotiationWithRealTargets replays what tgtd 1.0.85 and gotgt 0.2.2 answered.
func TestNegotiationWithRealTargets(t *testing.T) {
	s := initiatorSettings()
	s.HeaderDigest = []Digest{DigestCRC32C, DigestNone}
	s.DataDigest = s.HeaderDigest
	s.InitialR2T, s.MaxOutstandingR2T = false, 4
	s.MaxBurstLength, s.FirstBurstLength, s.MaxRecvDataSegmentLength = 1<<20, 262144, 262144
	offer := "InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t SessionType=Normal HeaderDigest=CRC32C,None DataDigest=CRC32C,None " +
		"MaxRecvDataSegmentLength=262144 InitialR2T=No ImmediateData=Yes MaxBurstLength=1048576 FirstBurstLength=262144 MaxOutstandingR2T=4 " +
		"MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=2 DefaultTime2Retain=20 ErrorRecoveryLevel=0"
	for _, c := range []struct {
		name, security, operational string
		send                        uint32
		digest                      Digest
	}{
		{"tgtd", "TargetPortalGroupTag=1", "HeaderDigest=CRC32C DataDigest=CRC32C InitialR2T=Yes ImmediateData=Yes MaxBurstLength=262144 " +
			"FirstBurstLength=65536 MaxOutstandingR2T=1 MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=2 " +
			"DefaultTime2Retain=20 ErrorRecoveryLevel=0", 8192, DigestCRC32C},
		{"gotgt", "", "HeaderDigest=None DataDigest=None InitialR2T=Yes ImmediateData=Yes MaxBurstLength=262144 FirstBurstLength=65536 " +
			"MaxOutstandingR2T=1 MaxConnections=1 DefaultTime2Wait=2 DefaultTime2Retain=20 ErrorRecoveryLevel=0 TargetPortalGroupTag=1 " +
			"MaxRecvDataSegmentLength=65536", 65536, DigestNone},
	} {
		n := newNegotiator(t, Initiator, s)
		first, second := n.Offer(SecurityNegotiation), Text(nil)
		if _, err := n.Receive(SecurityNegotiation, pairs(c.security)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		second = n.Offer(OperationalNegotiation)
		if got := append(first, second...).String(); got != offer {
			t.Errorf("%s: offers %s\nwant %s", c.name, got, offer)
		}
		if out, err := n.Receive(OperationalNegotiation, pairs(c.operational)); out != nil || err != nil {
			t.Fatalf("%s: answers %v, %v", c.name, out, err)
		}
		p, err := n.Finish()
		if err != nil || p.MaxSendDataSegmentLength != c.send || p.MaxBurstLength != 262144 || p.FirstBurstLength != 65536 ||
			p.MaxOutstandingR2T != 1 || !p.InitialR2T || p.HeaderDigest != c.digest || p.TargetPortalGroupTag != 1 {
			t.Errorf("%s: got %+v, %v", c.name, p, err)
		}
	}
}

// pairs reads "A=b C=d".
func pairs(s string) Text {
	var t Text
	for _, f := range strings.Fields(s) {
		k, v, _ := strings.Cut(f, "=")
		t.Add(k, v)
	}
	return t
}

// TestInitiatorJudgesAnswers gives one answer to an offer of everything.
func TestInitiatorJudgesAnswers(t *testing.T) {
	s := initiatorSettings()
	s.HeaderDigest = []Digest{DigestCRC32C}
	s.DataDigest = []Digest{DigestCRC32C, DigestNone}
	s.InitialR2T, s.ImmediateData = false, false
	s.MaxBurstLength, s.FirstBurstLength = 131072, 65536
	s.DefaultTime2Wait = 10
	s.TaskReporting = []TaskReporting{ReportFastAbort, ReportResponseFence, ReportRFC3720}
	for _, c := range []struct {
		answer string
		ok     bool
	}{
		{"HeaderDigest=CRC32C", true},
		{"HeaderDigest=None", false},
		{"HeaderDigest=crc32c", false},
		{"HeaderDigest=CRC32C,None", false},
		{"HeaderDigest=Irrelevant", false},
		{"HeaderDigest=Reject", false},
		{"HeaderDigest=NotUnderstood", false},
		{"DataDigest=None", true},
		{"DataDigest=Irrelevant", true},
		{"DataDigest=MD5", false},
		{"DataDigest=", false},
		{"InitialR2T=Yes", true},
		{"InitialR2T=No", true},
		{"InitialR2T=yes", false},
		{"InitialR2T=Irrelevant", true},
		{"ImmediateData=No", true},
		{"ImmediateData=Yes", false},
		{"DataPDUInOrder=No", false},
		{"DataPDUInOrder=Yes", true},
		{"MaxBurstLength=131072", true},
		{"MaxBurstLength=512", true},
		{"MaxBurstLength=511", false},
		{"MaxBurstLength=131073", false},
		{"MaxBurstLength=0x200", true},
		{"MaxBurstLength=16777216", false},
		{"MaxBurstLength=-1", false},
		{"MaxBurstLength=512~1024", false},
		{"MaxBurstLength=18446744073709552128", false},
		{"MaxBurstLength=4294967808", false}, // 512 after 64 and after 32 bits
		{"DefaultTime2Wait=10", true},
		{"DefaultTime2Wait=3600", true},
		{"DefaultTime2Wait=9", false},
		{"DefaultTime2Wait=3601", false},
		{"DefaultTime2Retain=0", true},
		{"DefaultTime2Retain=21", false},
		{"MaxConnections=1", true},
		{"MaxConnections=0", false},
		{"MaxConnections=2", false},
		{"MaxOutstandingR2T=0", false},
		{"ErrorRecoveryLevel=1", false},
		{"MaxRecvDataSegmentLength=512", true},
		{"MaxRecvDataSegmentLength=16777215", true},
		{"MaxRecvDataSegmentLength=511", false},
		{"MaxRecvDataSegmentLength=16777216", false},
		{"MaxRecvDataSegmentLength=NotUnderstood", false},
		{"MaxRecvDataSegmentLength=Reject", false},
		{"TaskReporting=NotUnderstood", true},
		{"TaskReporting=RFC3720", true},
		{"TaskReporting=Later", false},
		{"TaskReporting=Reject", false},
		{"TargetPortalGroupTag=0", true},
		{"TargetPortalGroupTag=65535", true},
		{"TargetPortalGroupTag=65536", false},
		{"TargetAddress=10.0.0.1:3260,1", true},
		{"InitiatorAlias=NotUnderstood", false}, // we sent no alias
		{"InitiatorName=iqn.2026-11.test:x", false},
		{"TargetName=iqn.2026-11.test:x", false},
		{"SessionType=Normal", false},
		{"AuthMethod=None", false},
		{"CHAP_A=5", false},
		{"SendTargets=All", false}, // not in this stage
		{"X-unknown=1", true},
		{"X-unknown=NotUnderstood", false},
		{"X-unknown=Reject", false},
		{"X-unknown=Irrelevant", false},
		{"IFMarker=No", true},
		{"IFMarker=Reject", false},
		{"X#NodeArchitecture=gotgt", true},
	} {
		n := newNegotiator(t, Initiator, s)
		n.Offer(OperationalNegotiation)
		_, err := n.Receive(OperationalNegotiation, pairs(c.answer))
		if c.ok && err != nil {
			t.Errorf("%s: %v", c.answer, err)
		} else if !c.ok {
			wantCode(t, c.answer, err, CodeNegotiation)
		}
	}
}

// TestTargetAnswers gives one proposal to a target with the default settings.
func TestTargetAnswers(t *testing.T) {
	s := DefaultSettings()
	s.HeaderDigest = []Digest{DigestNone}
	s.DataDigest = []Digest{DigestNone, DigestCRC32C}
	for _, c := range []struct{ in, want string }{ // "-": CodeNegotiation
		{"HeaderDigest=CRC32C,None", "HeaderDigest=None"},
		{"HeaderDigest=CRC32C", "-"},
		{"HeaderDigest=None,None", "HeaderDigest=None"},
		{"DataDigest=X-new,CRC32C,None", "DataDigest=CRC32C"},
		{"DataDigest=None,CRC32C", "DataDigest=None"},
		{"DataDigest=", "-"},
		{"InitialR2T=No", "InitialR2T=Yes"},
		{"ImmediateData=No", "ImmediateData=No"},
		{"ImmediateData=Yes", "ImmediateData=Yes"},
		{"MaxBurstLength=16776192", "MaxBurstLength=262144"},
		{"MaxBurstLength=512", "MaxBurstLength=512"},
		{"MaxBurstLength=511", "-"},
		{"DefaultTime2Wait=0", "DefaultTime2Wait=2"},
		{"DefaultTime2Wait=3600", "DefaultTime2Wait=3600"},
		{"DefaultTime2Retain=3600", "DefaultTime2Retain=20"},
		{"MaxConnections=65535", "MaxConnections=1"},
		{"MaxConnections=65536", "-"},
		{"ErrorRecoveryLevel=2", "ErrorRecoveryLevel=0"},
		{"ErrorRecoveryLevel=3", "-"},
		{"iSCSIProtocolLevel=2", "iSCSIProtocolLevel=1"},
		{"TaskReporting=FastAbort,ResponseFence,RFC3720", "TaskReporting=RFC3720"},
		{"IFMarker=No", "IFMarker=No"},
		{"OFMarker=Yes", "OFMarker=Reject"},
		{"IFMarkInt=2048~8192", "IFMarkInt=Reject"},
		{"OFMarkInt=NotUnderstood", "-"},
		{"X-com.example=1", "X-com.example=NotUnderstood"},
		{"RDMAExtensions=Yes", "RDMAExtensions=NotUnderstood"},
		{"MaxRecvDataSegmentLength=262144", ""},
		{"MaxRecvDataSegmentLength=100", "-"},
		{"X#NodeArchitecture=Linux", ""},
		{"InitiatorAlias=x", ""},
		{"TargetAlias=x", "-"},
		{"TargetPortalGroupTag=1", "-"},
		{"TargetAddress=h", "-"},
		{"AuthMethod=None", "-"},
		{"SendTargets=All", "-"},
		{"MaxBurstLength=Irrelevant", "-"},
		{"MaxBurstLength=Reject", "-"},
		{"InitialR2T=maybe", "-"},
	} {
		n := newNegotiator(t, Target, s)
		if _, err := n.Receive(SecurityNegotiation, pairs("InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t")); err != nil {
			t.Fatal(err)
		}
		out, err := n.Receive(OperationalNegotiation, pairs(c.in))
		if c.want == "-" {
			wantCode(t, c.in, err, CodeNegotiation)
		} else if err != nil || out.String() != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.in, out, err, c.want)
		}
	}
}

// TestB13MissingNames: 0x0207, 0x0209.
func TestB13MissingNames(t *testing.T) {
	for _, c := range []struct {
		in   string
		want ErrorCode
	}{
		{"", CodeMissingParameter},
		{"InitiatorName=iqn.2026-11.test:i", CodeMissingParameter},
		{"TargetName=iqn.2026-11.test:t", CodeMissingParameter},
		{"InitiatorName=iqn.2026-11.test:i SessionType=Discovery", 0},
		{"InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t", 0},
		{"InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t SessionType=Other", CodeSessionType},
		{"InitiatorName=other TargetName=iqn.2026-11.test:t", CodeNegotiation},
		{"InitiatorName=iqn.2026-11.test:i TargetName=x", CodeNegotiation},
	} {
		n := newNegotiator(t, Target, DefaultSettings())
		_, err := n.Receive(SecurityNegotiation, pairs(c.in))
		if c.want == 0 && err != nil {
			t.Errorf("%s: %v", c.in, err)
		} else if c.want != 0 {
			wantCode(t, c.in, err, c.want)
		}
	}
	if CodeMissingParameter.LoginStatus() != LoginMissingParameter || CodeSessionType.LoginStatus() != LoginSessionTypeNotSupported {
		t.Error("login statuses are wrong")
	}
}

// TestB14UnknownKeysAreBounded: no amplification by NotUnderstood, and an end.
func TestB14UnknownKeysAreBounded(t *testing.T) {
	n := newNegotiator(t, Initiator, initiatorSettings())
	answered := 0
	for i := range 2048 {
		out, err := n.Receive(OperationalNegotiation, Text{{"X-" + strconv.Itoa(i), "v"}})
		answered += out.Len()
		if err != nil {
			wantCode(t, "unknown keys", err, CodeNegotiation)
			break
		}
	}
	if answered == 0 || answered > 16*(MaxKeyLength+2+len(ValueNotUnderstood)) {
		t.Errorf("answered %d bytes", answered)
	}
	n = newNegotiator(t, Initiator, initiatorSettings())
	var err error
	rounds := 0
	for ; err == nil && rounds < 1000; rounds++ {
		_, err = n.Receive(OperationalNegotiation, nil)
	}
	wantCode(t, "endless exchange", err, CodeNegotiation)
	if rounds <= 6 {
		t.Errorf("ends after %d messages; 6.2 wants at least six exchanges allowed", rounds)
	}
}

func TestRepeatedKeyIsRefused(t *testing.T) {
	n := newNegotiator(t, Initiator, initiatorSettings())
	n.Offer(OperationalNegotiation)
	for i, in := range []string{"MaxBurstLength=65536 MaxRecvDataSegmentLength=4096", "MaxBurstLength=65536"} {
		_, err := n.Receive(OperationalNegotiation, pairs(in))
		if i == 1 {
			wantCode(t, "second answer", err, CodeNegotiation)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFinishDemandsAnswers(t *testing.T) {
	s := initiatorSettings()
	s.InitialR2T = false
	n := newNegotiator(t, Initiator, s)
	n.Offer(OperationalNegotiation)
	if !n.Pending() {
		t.Error("nothing is pending after an offer")
	}
	_, err := n.Finish()
	wantCode(t, "no answers", err, CodeNegotiation)
	// InitialR2T=No needs an answer; DataPDUInOrder=Yes (OR) decides alone.
	all := "MaxBurstLength=262144 FirstBurstLength=65536 MaxOutstandingR2T=1 MaxConnections=1 DefaultTime2Wait=2 DefaultTime2Retain=20 " +
		"ErrorRecoveryLevel=0 HeaderDigest=None DataDigest=None ImmediateData=Yes"
	if _, err := n.Receive(OperationalNegotiation, pairs(all)); err != nil {
		t.Fatal(err)
	}
	_, err = n.Finish()
	wantCode(t, "no answer to InitialR2T", err, CodeNegotiation)
	if _, err := n.Receive(OperationalNegotiation, pairs("InitialR2T=No")); err != nil {
		t.Fatal(err)
	}
	if p, err := n.Finish(); err != nil || p.InitialR2T || !p.DataPDUInOrder {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestTargetProposesWhatTheDefaultDoesNotSuit: an initiator that proposes nothing.
func TestTargetProposesWhatTheDefaultDoesNotSuit(t *testing.T) {
	s := DefaultSettings()
	s.ImmediateData, s.MaxBurstLength, s.FirstBurstLength, s.DefaultTime2Wait = false, 32768, 16384, 3
	n := newNegotiator(t, Target, s)
	if _, err := n.Receive(OperationalNegotiation, pairs("InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t")); err != nil {
		t.Fatal(err)
	}
	want := "TargetPortalGroupTag=0 MaxRecvDataSegmentLength=8192 ImmediateData=No MaxBurstLength=32768 FirstBurstLength=16384 DefaultTime2Wait=3"
	if got := n.Offer(OperationalNegotiation).String(); got != want {
		t.Errorf("offers %s\nwant %s", got, want)
	}
	if got := n.Offer(OperationalNegotiation); got != nil {
		t.Errorf("offers again: %v", got)
	}
	if !n.Pending() {
		t.Error("a target lets the stage end before its proposals are answered")
	}
	if _, err := n.Receive(OperationalNegotiation, pairs("MaxBurstLength=8192 FirstBurstLength=8192 DefaultTime2Wait=3")); err != nil {
		t.Fatal(err)
	}
	if p, err := n.Finish(); err != nil || p.ImmediateData || p.MaxBurstLength != 8192 || p.FirstBurstLength != 8192 {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestDiscoverySession(t *testing.T) {
	s := initiatorSettings()
	s.TargetName, s.SessionType, s.MaxConnections, s.ErrorRecoveryLevel = "", DiscoverySession, 4, 1
	i, r := newNegotiator(t, Initiator, s), newNegotiator(t, Target, DefaultSettings())
	want := "InitiatorName=iqn.2026-11.test:i SessionType=Discovery HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength=8192 " +
		"DefaultTime2Wait=2 DefaultTime2Retain=20 ErrorRecoveryLevel=0"
	snapshot := *i
	if got := snapshot.Offer(OperationalNegotiation).String(); got != want {
		t.Errorf("offers %s\nwant %s", got, want)
	}
	ip, tp, err := login(i, r)
	if err != nil || ip.SessionType != DiscoverySession || tp.SessionType != DiscoverySession || ip.MaxConnections != 1 || ip.ErrorRecoveryLevel != 0 {
		t.Errorf("got %+v, %+v, %v", ip, tp, err)
	}
	r = newNegotiator(t, Target, DefaultSettings())
	out, err := r.Receive(OperationalNegotiation, pairs("InitiatorName=iqn.2026-11.test:i MaxBurstLength=512 InitialR2T=No SessionType=Discovery"))
	if got := out.String(); err != nil || got != "MaxBurstLength=Irrelevant InitialR2T=Irrelevant" {
		t.Errorf("answers %s, %v", got, err)
	}
}

func TestAddedConnection(t *testing.T) {
	s := initiatorSettings()
	s.AddedConnection = true
	n := newNegotiator(t, Initiator, s)
	want := "InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength=8192"
	if got := n.Offer(OperationalNegotiation).String(); got != want {
		t.Errorf("offers %s\nwant %s", got, want)
	}
	_, err := n.Receive(OperationalNegotiation, pairs("MaxBurstLength=512"))
	wantCode(t, "session-wide key", err, CodeNegotiation)
}

func TestFullFeatureSequence(t *testing.T) {
	i, r := newNegotiator(t, Initiator, initiatorSettings()), newNegotiator(t, Target, DefaultSettings())
	if _, _, err := login(i, r); err != nil {
		t.Fatal(err)
	}
	if out := i.Offer(FullFeaturePhase); out != nil {
		t.Errorf("offers %v", out)
	}
	saved := *i
	i.BeginSequence()
	if _, err := i.Receive(FullFeaturePhase, pairs("MaxRecvDataSegmentLength=4096")); err != nil {
		t.Fatal(err)
	}
	if got := i.Params().MaxSendDataSegmentLength; got != 4096 {
		t.Errorf("declared 4096, in force %d", got)
	}
	_, err := i.Receive(FullFeaturePhase, pairs("MaxBurstLength=4096"))
	wantCode(t, "LO key", err, CodeNegotiation)
	*i = saved
	if got := i.Params().MaxSendDataSegmentLength; got != 8192 {
		t.Errorf("after the failure %d is in force, want 8192", got)
	}
}

func TestSettingsValidate(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"MaxRecvDataSegmentLength 511":  func(s *Settings) { s.MaxRecvDataSegmentLength = 511 },
		"MaxRecvDataSegmentLength 2^24": func(s *Settings) { s.MaxRecvDataSegmentLength = 1 << 24 },
		"MaxBurstLength 0":              func(s *Settings) { s.MaxBurstLength = 0 },
		"MaxConnections 0":              func(s *Settings) { s.MaxConnections = 0 },
		"MaxOutstandingR2T 0":           func(s *Settings) { s.MaxOutstandingR2T = 0 },
		"ErrorRecoveryLevel 3":          func(s *Settings) { s.ErrorRecoveryLevel = 3 },
		"DefaultTime2Wait 3601":         func(s *Settings) { s.DefaultTime2Wait = 3601 },
		"FirstBurstLength above":        func(s *Settings) { s.FirstBurstLength = s.MaxBurstLength + 1 },
		"recovery with several R2Ts":    func(s *Settings) { s.ErrorRecoveryLevel, s.MaxOutstandingR2T = 1, 2 },
		"TaskReporting incomplete":      func(s *Settings) { s.TaskReporting = []TaskReporting{ReportFastAbort} },
		"digest unknown":                func(s *Settings) { s.DataDigest = []Digest{9} },
		"ProtocolLevel 32":              func(s *Settings) { s.ProtocolLevel = 32 },
		"no InitiatorName":              func(s *Settings) { s.InitiatorName = "" },
		"no TargetName":                 func(s *Settings) { s.TargetName = "" },
		"alias with a null byte":        func(s *Settings) { s.InitiatorAlias = "a\x00B=c" },
	} {
		s := initiatorSettings()
		change(&s)
		_, err := NewNegotiator(Initiator, s)
		wantCode(t, name, err, CodeSetting)
	}
	if _, err := NewNegotiator(Target, DefaultSettings()); err != nil {
		t.Errorf("default settings: %v", err)
	}
}
