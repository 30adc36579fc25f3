// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strings"

// Validate checks the settings for use by role. CodeSetting: a value is out of its range, FirstBurstLength is above
// MaxBurstLength, a name is missing or ill-formed, or a combination that the RFC forbids.
func (s *Settings) Validate(role Role) error {
	for id := range keyTable {
		k := &keyTable[id]
		if k.kind < kindMinimum || k.kind > kindDeclare {
			continue
		}
		if v := s.number(keyID(id)); v < k.min || v > k.max {
			return fault(CodeSetting, k.name+" is out of range")
		}
	}
	switch {
	case s.FirstBurstLength > s.MaxBurstLength:
		return fault(CodeSetting, "FirstBurstLength is above MaxBurstLength")
	case s.ErrorRecoveryLevel != 0 && s.DataSequenceInOrder && s.MaxOutstandingR2T != 1: // 13.19
		return fault(CodeSetting, "MaxOutstandingR2T must be 1 with error recovery and sequences in order")
	case len(s.TaskReporting) > 0 && !(s.accepts(idTaskReporting, uint32(ReportRFC3720)) && s.accepts(idTaskReporting, uint32(ReportResponseFence))): // 13.23
		return fault(CodeSetting, "TaskReporting must offer RFC3720 and ResponseFence")
	}
	for _, id := range []keyID{idHeaderDigest, idDataDigest, idTaskReporting} {
		for _, v := range s.list(id) {
			if int(v) >= len(keyTable[id].names) {
				return fault(CodeSetting, keyTable[id].name+" has an unknown value")
			}
		}
	}
	if role == Target {
		return validAlias(s.TargetAlias)
	}
	if ValidateName(s.InitiatorName) != nil {
		return fault(CodeSetting, "InitiatorName is not an iSCSI name")
	}
	if (s.TargetName != "" || s.SessionType == NormalSession) && ValidateName(s.TargetName) != nil {
		return fault(CodeSetting, "TargetName is not an iSCSI name")
	}
	return validAlias(s.InitiatorAlias)
}

func validAlias(s string) error {
	if len(s) > MaxValueLength || strings.IndexByte(s, 0) >= 0 {
		return fault(CodeSetting, "alias is too long or has a null byte")
	}
	return nil
}

// number returns what this side wants of a boolean or numeric key.
func (s *Settings) number(id keyID) uint32 {
	switch id {
	case idTargetPortalGroupTag:
		return uint32(s.TargetPortalGroupTag)
	case idMaxRecvDataSegmentLength:
		return s.MaxRecvDataSegmentLength
	case idInitialR2T:
		return bit(s.InitialR2T)
	case idImmediateData:
		return bit(s.ImmediateData)
	case idMaxBurstLength:
		return s.MaxBurstLength
	case idFirstBurstLength:
		return s.FirstBurstLength
	case idMaxOutstandingR2T:
		return uint32(s.MaxOutstandingR2T)
	case idMaxConnections:
		return uint32(s.MaxConnections)
	case idDataPDUInOrder:
		return bit(s.DataPDUInOrder)
	case idDataSequenceInOrder:
		return bit(s.DataSequenceInOrder)
	case idDefaultTime2Wait:
		return uint32(s.DefaultTime2Wait)
	case idDefaultTime2Retain:
		return uint32(s.DefaultTime2Retain)
	case idErrorRecoveryLevel:
		if s.SessionType == DiscoverySession { // 13.21: must be 0
			return 0
		}
		return uint32(s.ErrorRecoveryLevel)
	case idProtocolLevel:
		return uint32(s.ProtocolLevel)
	default: // texts and lists
		return 0
	}
}

// list returns what this side accepts of a list key, in order of preference.
func (s *Settings) list(id keyID) []uint32 {
	var out []uint32
	switch id {
	case idHeaderDigest:
		for _, d := range s.HeaderDigest {
			out = append(out, uint32(d))
		}
	case idDataDigest:
		for _, d := range s.DataDigest {
			out = append(out, uint32(d))
		}
	case idTaskReporting:
		for _, t := range s.TaskReporting {
			out = append(out, uint32(t))
		}
	default: // no other key is a list
	}
	if out == nil {
		return []uint32{keyTable[id].def}
	}
	return out
}

// accepts reports whether v may be the outcome of a negotiated key for this side.
func (s *Settings) accepts(id keyID, v uint32) bool {
	switch keyTable[id].kind {
	case kindList:
		for _, own := range s.list(id) {
			if own == v {
				return true
			}
		}
		return false
	case kindAnd:
		return v <= s.number(id)
	case kindOr:
		return v >= s.number(id)
	case kindMinimum:
		return v <= s.number(id)
	case kindMaximum:
		return v >= s.number(id)
	default: // declared: each side tells its own
		return true
	}
}

// result applies the result function of a key that is no list to the value of the peer and ours.
func (s *Settings) result(id keyID, v uint32) uint32 {
	switch keyTable[id].kind {
	case kindAnd, kindMinimum:
		return min(v, s.number(id))
	case kindOr, kindMaximum:
		return max(v, s.number(id))
	default: // declared: the peer's stands
		return v
	}
}

func bit(v bool) uint32 {
	if v {
		return 1
	}
	return 0
}
