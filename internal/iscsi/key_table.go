// SPDX-License-Identifier: Apache-2.0

package iscsi

// keyID is the index of a key in keyTable, and of its state in a Negotiator.
type keyID int

// The keys in the order in which they are sent.
const (
	idInitiatorName keyID = iota
	idInitiatorAlias
	idTargetName
	idSessionType
	idTargetPortalGroupTag
	idTargetAlias
	idTargetAddress
	idHeaderDigest
	idDataDigest
	idMaxRecvDataSegmentLength
	idInitialR2T
	idImmediateData
	idMaxBurstLength
	idFirstBurstLength
	idMaxOutstandingR2T
	idMaxConnections
	idDataPDUInOrder
	idDataSequenceInOrder
	idDefaultTime2Wait
	idDefaultTime2Retain
	idErrorRecoveryLevel
	idTaskReporting
	idProtocolLevel
	idNodeArchitecture
	idIFMarker
	idOFMarker
	idIFMarkInt
	idOFMarkInt
	idSendTargets
	idAuthMethod
	idCHAPA
	idCHAPI
	idCHAPC
	idCHAPN
	idCHAPR
	keyCount
)

// keyKind is the type of a key and its result function.
type keyKind uint8

const (
	kindList         keyKind = iota // the first of the proposer's values that the acceptor supports
	kindAnd                         // boolean
	kindOr                          // boolean
	kindMinimum                     // number
	kindMaximum                     // number
	kindDeclare                     // number, no answer
	kindDeclareText                 // text, no answer
	kindObsoleteFlag                // boolean, answered with No or Reject
	kindObsolete                    // answered with Reject
	kindElsewhere                   // well known, but the affair of the CHAP machines or of discovery
)

// negotiated reports whether the key is proposed and answered, not declared.
func (k keyKind) negotiated() bool { return k <= kindMaximum }

// Bits of keySpec.from and keySpec.in.
const (
	byInitiator = 1 << Initiator
	byTarget    = 1 << Target
	byBoth      = byInitiator | byTarget

	inSecurity    = 1 << SecurityNegotiation
	inOperational = 1 << OperationalNegotiation
	inFullFeature = 1 << FullFeaturePhase
	inLogin       = inSecurity | inOperational
	inAll         = inLogin | inFullFeature
)

// keySpec is one row of the key descriptions in RFC 7143 sections 12 and 13.
type keySpec struct {
	name string
	kind keyKind
	from uint8 // senders
	in   uint8 // stages: IO and LO keys inOperational, Any-Stage keys inLogin, ALL keys also inFullFeature

	leading     bool // use: LO, only on the first connection of a session
	noDiscovery bool // irrelevant when SessionType=Discovery
	optional    bool // a peer that is older than the key may answer NotUnderstood

	min, max, def uint32   // numbers; booleans are 0 and 1
	names         []string // list values by number; also of SessionType
}

// keyTable is read only.
var keyTable = [keyCount]keySpec{
	idInitiatorName:        {name: KeyInitiatorName, kind: kindDeclareText, from: byInitiator, in: inLogin},                // 13.5
	idInitiatorAlias:       {name: KeyInitiatorAlias, kind: kindDeclareText, from: byInitiator, in: inAll},                 // 13.7
	idTargetName:           {name: KeyTargetName, kind: kindDeclareText, from: byInitiator, in: inLogin},                   // 13.4
	idSessionType:          {name: KeySessionType, kind: kindDeclareText, from: byInitiator, in: inLogin, leading: true},   // 13.21
	idTargetPortalGroupTag: {name: KeyTargetPortalGroupTag, kind: kindDeclare, from: byTarget, in: inLogin, max: 65535},    // 13.9
	idTargetAlias:          {name: KeyTargetAlias, kind: kindDeclareText, from: byTarget, in: inAll},                       // 13.6
	idTargetAddress:        {name: KeyTargetAddress, kind: kindDeclareText, from: byTarget, in: inAll},                     // 13.8
	idHeaderDigest:         {name: KeyHeaderDigest, kind: kindList, from: byBoth, in: inOperational, names: digestNames()}, // 13.1
	idDataDigest:           {name: KeyDataDigest, kind: kindList, from: byBoth, in: inOperational, names: digestNames()},   // 13.1
	idMaxRecvDataSegmentLength: {
		name: KeyMaxRecvDataSegmentLength, kind: kindDeclare, from: byBoth, in: inOperational | inFullFeature,
		min: 512, max: MaxDataSegmentLength, def: DefaultMaxRecvDataSegmentLength,
	}, // 13.12

	idInitialR2T:          {name: KeyInitialR2T, kind: kindOr, from: byBoth, in: inOperational, leading: true, noDiscovery: true, max: 1, def: 1},                                             // 13.10
	idImmediateData:       {name: KeyImmediateData, kind: kindAnd, from: byBoth, in: inOperational, leading: true, noDiscovery: true, max: 1, def: 1},                                         // 13.11
	idMaxBurstLength:      {name: KeyMaxBurstLength, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, noDiscovery: true, min: 512, max: MaxDataSegmentLength, def: 262144},  // 13.13
	idFirstBurstLength:    {name: KeyFirstBurstLength, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, noDiscovery: true, min: 512, max: MaxDataSegmentLength, def: 65536}, // 13.14
	idMaxOutstandingR2T:   {name: KeyMaxOutstandingR2T, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, noDiscovery: true, min: 1, max: 65535, def: 1},                     // 13.17
	idMaxConnections:      {name: KeyMaxConnections, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, noDiscovery: true, min: 1, max: 65535, def: 1},                        // 13.2
	idDataPDUInOrder:      {name: KeyDataPDUInOrder, kind: kindOr, from: byBoth, in: inOperational, leading: true, noDiscovery: true, max: 1, def: 1},                                         // 13.18
	idDataSequenceInOrder: {name: KeyDataSequenceInOrder, kind: kindOr, from: byBoth, in: inOperational, leading: true, noDiscovery: true, max: 1, def: 1},                                    // 13.19
	idDefaultTime2Wait:    {name: KeyDefaultTime2Wait, kind: kindMaximum, from: byBoth, in: inOperational, leading: true, max: 3600, def: 2},                                                  // 13.15
	idDefaultTime2Retain:  {name: KeyDefaultTime2Retain, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, max: 3600, def: 20},                                               // 13.16
	idErrorRecoveryLevel:  {name: KeyErrorRecoveryLevel, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, max: 2},                                                           // 13.20

	idTaskReporting: {
		name: KeyTaskReporting, kind: kindList, from: byBoth, in: inOperational, leading: true, noDiscovery: true, optional: true,
		names: []string{ReportRFC3720.String(), ReportResponseFence.String(), ReportFastAbort.String()},
	}, // 13.23
	idProtocolLevel: {
		name: KeyProtocolLevel, kind: kindMinimum, from: byBoth, in: inOperational, leading: true, noDiscovery: true, optional: true,
		max: 31, def: 1,
	}, // 13.24, RFC 7144 7.1.1
	idNodeArchitecture: {name: KeyNodeArchitecture, kind: kindDeclareText, from: byBoth, in: inOperational, leading: true, optional: true}, // 13.26

	idIFMarker:  {name: KeyIFMarker, kind: kindObsoleteFlag, from: byBoth, in: inOperational}, // 13.25
	idOFMarker:  {name: KeyOFMarker, kind: kindObsoleteFlag, from: byBoth, in: inOperational}, // 13.25
	idIFMarkInt: {name: KeyIFMarkInt, kind: kindObsolete, from: byBoth, in: inOperational},    // 13.25
	idOFMarkInt: {name: KeyOFMarkInt, kind: kindObsolete, from: byBoth, in: inOperational},    // 13.25

	idSendTargets: {name: KeySendTargets, kind: kindElsewhere, from: byInitiator, in: inFullFeature}, // 13.3
	idAuthMethod:  {name: KeyAuthMethod, kind: kindElsewhere, from: byBoth, in: inSecurity},          // 12.1
	idCHAPA:       {name: KeyCHAPA, kind: kindElsewhere, from: byBoth, in: inSecurity},               // 12.1.3
	idCHAPI:       {name: KeyCHAPI, kind: kindElsewhere, from: byBoth, in: inSecurity},               // 12.1.3
	idCHAPC:       {name: KeyCHAPC, kind: kindElsewhere, from: byBoth, in: inSecurity},               // 12.1.3
	idCHAPN:       {name: KeyCHAPN, kind: kindElsewhere, from: byBoth, in: inSecurity},               // 12.1.3
	idCHAPR:       {name: KeyCHAPR, kind: kindElsewhere, from: byBoth, in: inSecurity},               // 12.1.3
}

func digestNames() []string { return []string{DigestNone.String(), DigestCRC32C.String()} }

// lookupKey returns keyCount for a key that is not in the table.
func lookupKey(name string) keyID {
	for id := range keyTable {
		if keyTable[id].name == name {
			return keyID(id)
		}
	}
	return keyCount
}
