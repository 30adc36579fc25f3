// SPDX-License-Identifier: Apache-2.0

package iscsi

// Pending reports whether the peer still owes an answer to a proposal of ours. Answers that 6.2.2 makes optional (No to an
// AND key, Yes to an OR key, which decide alone) are not owed.
func (n *Negotiator) Pending() bool { return n.owed() != keyCount }

func (n *Negotiator) owed() keyID {
	for i := range keyTable {
		id, k, st := keyID(i), &keyTable[i], &n.state[i]
		if !k.kind.negotiated() || !st.offered || st.got {
			continue
		}
		if k.kind == kindAnd && n.set.number(id) == 0 || k.kind == kindOr && n.set.number(id) == 1 {
			continue
		}
		return id
	}
	return keyCount
}

// Finish returns the outcome. CodeNegotiation: an answer is missing, or the outcome breaks a rule between keys. Only a
// target refuses a FirstBurstLength above MaxBurstLength; an initiator, which decides what it sends, keeps to the lesser.
// RFC 7143 6.2 (Text Mode Negotiation), integrity rules; 13.14, 13.19, 13.21.
func (n *Negotiator) Finish() (Params, error) {
	if id := n.owed(); id != keyCount {
		return Params{}, fault(CodeNegotiation, "no answer to "+keyTable[id].name)
	}
	p := n.Params()
	unsolicited := !p.InitialR2T || p.ImmediateData
	switch {
	case n.role == Target && unsolicited && n.state[idFirstBurstLength].settled && n.outcome(idFirstBurstLength) > p.MaxBurstLength:
		return Params{}, fault(CodeNegotiation, "FirstBurstLength is above MaxBurstLength")
	case p.ErrorRecoveryLevel != 0 && p.DataSequenceInOrder && p.MaxOutstandingR2T != 1:
		return Params{}, fault(CodeNegotiation, "MaxOutstandingR2T is not 1 with error recovery and sequences in order")
	}
	return p, nil
}

// outcome returns the value in force for a boolean, number or list key: what was settled, what our own proposal decided
// alone, or the default.
func (n *Negotiator) outcome(id keyID) uint32 {
	k, st := &keyTable[id], &n.state[id]
	if st.settled {
		return st.value
	}
	if st.offered && !st.got && (k.kind == kindAnd || k.kind == kindOr) {
		return n.set.result(id, k.def)
	}
	return k.def
}

// Params returns what is in force so far, without the checks of Finish. Before the login ends it serves to look at the
// names and at the session type.
func (n *Negotiator) Params() Params {
	p := Params{
		SessionType:              n.session,
		InitiatorName:            n.set.InitiatorName,
		TargetName:               n.set.TargetName,
		InitiatorAlias:           n.set.InitiatorAlias,
		TargetAlias:              n.set.TargetAlias,
		TargetPortalGroupTag:     n.set.TargetPortalGroupTag,
		HasTargetPortalGroupTag:  true,
		HeaderDigest:             Digest(n.outcome(idHeaderDigest)),
		DataDigest:               Digest(n.outcome(idDataDigest)),
		MaxConnections:           uint16(n.outcome(idMaxConnections)),
		InitialR2T:               n.outcome(idInitialR2T) == 1,
		ImmediateData:            n.outcome(idImmediateData) == 1,
		MaxRecvDataSegmentLength: DefaultMaxRecvDataSegmentLength,
		MaxSendDataSegmentLength: n.outcome(idMaxRecvDataSegmentLength),
		MaxBurstLength:           n.outcome(idMaxBurstLength),
		FirstBurstLength:         n.outcome(idFirstBurstLength),
		DefaultTime2Wait:         uint16(n.outcome(idDefaultTime2Wait)),
		DefaultTime2Retain:       uint16(n.outcome(idDefaultTime2Retain)),
		MaxOutstandingR2T:        uint16(n.outcome(idMaxOutstandingR2T)),
		DataPDUInOrder:           n.outcome(idDataPDUInOrder) == 1,
		DataSequenceInOrder:      n.outcome(idDataSequenceInOrder) == 1,
		ErrorRecoveryLevel:       uint8(n.outcome(idErrorRecoveryLevel)),
		TaskReporting:            TaskReporting(n.outcome(idTaskReporting)),
		ProtocolLevel:            uint8(n.outcome(idProtocolLevel)),
	}
	if n.role == Initiator {
		p.TargetAlias = n.texts[idTargetAlias]
		p.TargetPortalGroupTag = uint16(n.outcome(idTargetPortalGroupTag))
		p.HasTargetPortalGroupTag = n.state[idTargetPortalGroupTag].settled
	} else {
		p.InitiatorName, p.TargetName = n.texts[idInitiatorName], n.texts[idTargetName]
		p.InitiatorAlias = n.texts[idInitiatorAlias]
	}
	if n.state[idMaxRecvDataSegmentLength].offered {
		p.MaxRecvDataSegmentLength = n.set.MaxRecvDataSegmentLength
	}
	if p.SessionType == DiscoverySession { // 13.21
		p.MaxConnections, p.ErrorRecoveryLevel = 1, 0
	}
	p.FirstBurstLength = min(p.FirstBurstLength, p.MaxBurstLength)
	return p
}

// BeginSequence starts a negotiation of its own in the full feature phase: keys of use ALL may come once more, what is in
// force stays. The caller keeps a copy of n to go back to when the negotiation fails.
func (n *Negotiator) BeginSequence() {
	for i := range keyTable {
		if keyTable[i].in>>FullFeaturePhase&1 == 1 {
			n.state[i].got = false
		}
	}
	n.exchanges, n.unknown = 0, 0
}
