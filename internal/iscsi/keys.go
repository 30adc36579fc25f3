// SPDX-License-Identifier: Apache-2.0

package iscsi

// Names of the text keys. RFC 7143 12 (iSCSI Security Text Keys and Authentication Methods), 13 (Login/Text Operational
// Text Keys); KeyProtocolLevel: RFC 7144 7.1.1.
const (
	KeyAuthMethod = "AuthMethod"
	KeyCHAPA      = "CHAP_A"
	KeyCHAPI      = "CHAP_I"
	KeyCHAPC      = "CHAP_C"
	KeyCHAPN      = "CHAP_N"
	KeyCHAPR      = "CHAP_R"

	KeySessionType          = "SessionType"
	KeyInitiatorName        = "InitiatorName"
	KeyTargetName           = "TargetName"
	KeyInitiatorAlias       = "InitiatorAlias"
	KeyTargetAlias          = "TargetAlias"
	KeyTargetAddress        = "TargetAddress"
	KeyTargetPortalGroupTag = "TargetPortalGroupTag"
	KeySendTargets          = "SendTargets"

	KeyHeaderDigest             = "HeaderDigest"
	KeyDataDigest               = "DataDigest"
	KeyMaxConnections           = "MaxConnections"
	KeyInitialR2T               = "InitialR2T"
	KeyImmediateData            = "ImmediateData"
	KeyMaxRecvDataSegmentLength = "MaxRecvDataSegmentLength"
	KeyMaxBurstLength           = "MaxBurstLength"
	KeyFirstBurstLength         = "FirstBurstLength"
	KeyDefaultTime2Wait         = "DefaultTime2Wait"
	KeyDefaultTime2Retain       = "DefaultTime2Retain"
	KeyMaxOutstandingR2T        = "MaxOutstandingR2T"
	KeyDataPDUInOrder           = "DataPDUInOrder"
	KeyDataSequenceInOrder      = "DataSequenceInOrder"
	KeyErrorRecoveryLevel       = "ErrorRecoveryLevel"
	KeyTaskReporting            = "TaskReporting"
	KeyProtocolLevel            = "iSCSIProtocolLevel"
	KeyNodeArchitecture         = "X#NodeArchitecture"

	KeyIFMarker  = "IFMarker"  // obsolete
	KeyOFMarker  = "OFMarker"  // obsolete
	KeyIFMarkInt = "IFMarkInt" // obsolete
	KeyOFMarkInt = "OFMarkInt" // obsolete
)

// Constant answers of a negotiation. RFC 7143 6.2 (Text Mode Negotiation).
const (
	ValueYes           = "Yes"
	ValueNo            = "No"
	ValueNone          = "None"
	ValueNotUnderstood = "NotUnderstood"
	ValueIrrelevant    = "Irrelevant"
	ValueReject        = "Reject"
)
