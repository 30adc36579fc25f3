// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"strconv"
	"strings"
)

// Role is the side of a session that an object acts for.
type Role uint8

// The roles.
const (
	Initiator Role = iota
	Target
)

// String returns "initiator" or "target".
func (r Role) String() string {
	if r == Target {
		return "target"
	}
	return "initiator"
}

// Bounds on one negotiation.
const (
	// maxUnknownKeys bounds how often we answer NotUnderstood, so that a peer cannot make us send what it likes.
	maxUnknownKeys = 16
	// maxExchanges bounds the messages taken; the RFC wants at least six allowed.
	maxExchanges = 32
)

// Negotiator is one side of the parameter negotiation of a connection. It takes the pairs that the peer sent and gives
// the pairs to send; sockets, PDUs, stages and authentication are the caller's. RFC 7143 6.2 (Text Mode Negotiation), 13.
//
// In each message the caller sends the answers that Receive returned for the last message of the peer, followed by what
// Offer returns for the stage of the new message. After the login, Finish gives the outcome.
//
// A Negotiator is a plain value: a copy is a snapshot, so a negotiation in the full feature phase that fails is undone by
// putting the copy back (7.12 (Negotiation Failures)).
type Negotiator struct {
	role      Role
	set       Settings
	session   SessionType // told by the initiator; a target learns it
	state     [keyCount]keyState
	texts     [idTargetAlias + 1]string // declared by the peer
	unknown   int
	exchanges int
}

// keyState is how far a key has come. Invariant: settled only with an outcome in value.
type keyState struct {
	offered bool   // we proposed or declared it
	got     bool   // the peer proposed, declared or answered it
	early   bool   // it did so in the security stage, and not again
	settled bool   // value is the outcome, not the default
	value   uint32 // outcome; for declarations the peer's value
}

// NewNegotiator checks the settings and returns a negotiator that has sent and received nothing.
func NewNegotiator(role Role, s Settings) (*Negotiator, error) {
	if err := s.Validate(role); err != nil {
		return nil, err
	}
	n := &Negotiator{role: role, set: s}
	if role == Initiator {
		n.session = s.SessionType
	}
	return n, nil
}

// Offer returns the pairs that this side declares or proposes of itself in a message of the given stage and has not sent
// before. An initiator names itself in its first message and, in the operational stage, proposes every key. A target
// declares its portal group in its first message, and proposes a key only when neither the initiator did nor the default
// suits it; Pending then tells that it must not let the stage end yet.
func (n *Negotiator) Offer(stage Stage) Text {
	var out Text
	for i := range keyTable {
		id := keyID(i)
		k, st := &keyTable[i], &n.state[i]
		if st.offered || k.in>>stage&1 == 0 || k.from>>n.role&1 == 0 || !n.relevant(id) || !n.wants(id) {
			continue
		}
		st.offered = true
		out.Add(k.name, n.proposal(id))
	}
	return out
}

// relevant applies the "use: LO" and "irrelevant when" rules that do not depend on other keys.
func (n *Negotiator) relevant(id keyID) bool {
	k := &keyTable[id]
	return !(k.leading && n.set.AddedConnection) && !(k.noDiscovery && n.session == DiscoverySession)
}

// wants decides whether this side has something to say about a key.
func (n *Negotiator) wants(id keyID) bool {
	switch id {
	case idInitiatorName, idSessionType, idTargetPortalGroupTag, idMaxRecvDataSegmentLength:
		return true
	case idTargetName:
		return n.set.TargetName != ""
	case idInitiatorAlias:
		return n.set.InitiatorAlias != ""
	case idTargetAlias:
		return n.set.TargetAlias != "" && n.session == NormalSession
	default: // negotiated, or not at all
	}
	k := &keyTable[id]
	switch {
	case !k.kind.negotiated() || n.state[id].got:
		return false
	case n.role == Target && id == idFirstBurstLength && k.def > n.outcome(idMaxBurstLength): // 13.14
		return true
	case n.role == Target || k.optional:
		return !n.set.accepts(id, k.def) || k.optional && n.role == Initiator && n.asksFor(id)
	case id == idFirstBurstLength: // 13.14: irrelevant without unsolicited data
		return !n.set.InitialR2T || n.set.ImmediateData
	}
	return true
}

// asksFor reports whether an initiator's settings go beyond the default of a key that older targets do not know.
func (n *Negotiator) asksFor(id keyID) bool {
	if id == idTaskReporting {
		return len(n.set.TaskReporting) > 0
	}
	return n.set.number(id) != keyTable[id].def
}

func (n *Negotiator) proposal(id keyID) string {
	switch id {
	case idInitiatorName:
		return n.set.InitiatorName
	case idInitiatorAlias:
		return n.set.InitiatorAlias
	case idTargetName:
		return n.set.TargetName
	case idSessionType:
		return n.set.SessionType.String()
	case idTargetAlias:
		return n.set.TargetAlias
	default: // a list or a number
	}
	if keyTable[id].kind != kindList {
		return n.format(id, n.ours(id))
	}
	var b strings.Builder
	for i, v := range n.set.list(id) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(keyTable[id].names[v])
	}
	return b.String()
}

// ours returns the number that we propose: what the settings say, but a target's FirstBurstLength stays within what
// MaxBurstLength became.
func (n *Negotiator) ours(id keyID) uint32 {
	if n.role == Target && id == idFirstBurstLength {
		return min(n.set.FirstBurstLength, n.outcome(idMaxBurstLength))
	}
	return n.set.number(id)
}

// format returns the wire form of a value.
func (n *Negotiator) format(id keyID, v uint32) string {
	switch k := &keyTable[id]; k.kind {
	case kindList:
		return k.names[v]
	case kindAnd, kindOr:
		return formatBoolean(v == 1)
	default: // kindMinimum, kindMaximum and the declared numbers
		return strconv.FormatUint(uint64(v), 10)
	}
}

// Receive takes the pairs of one message of the peer and returns the answers to them. stage is the current stage (CSG) of
// that message. Security keys and SendTargets are passed over where they are allowed: they belong to the CHAP machines
// and to discovery. After an error the negotiation has failed.
//
// CodeNegotiation: a key outside its stage or from the wrong side, a repeated key, a value out of range, an answer that
// the result function does not allow, Reject, more unknown keys or messages than are borne. CodeMissingParameter: a
// target got a first message without InitiatorName, or without TargetName in a normal session. CodeSessionType.
func (n *Negotiator) Receive(stage Stage, in Text) (Text, error) {
	n.exchanges++
	if n.exchanges > maxExchanges {
		return nil, fault(CodeNegotiation, "negotiation does not come to an end")
	}
	if err := n.learnSessionType(in); err != nil {
		return nil, err
	}
	var out Text
	for i := range in {
		if err := n.receive(stage, in[i].Key, in[i].Value, &out); err != nil {
			return nil, err
		}
	}
	if n.role == Target && n.exchanges == 1 && stage != FullFeaturePhase {
		if err := n.checkNames(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// learnSessionType reads SessionType before the other keys, whose relevance depends on it.
func (n *Negotiator) learnSessionType(in Text) error {
	v, ok := in.Get(KeySessionType)
	if n.role != Target || !ok || n.state[idSessionType].got { // what was said first holds
		return nil
	}
	was := n.session
	switch v {
	case NormalSession.String():
		n.session = NormalSession
	case DiscoverySession.String():
		n.session = DiscoverySession
	default:
		return fault(CodeSessionType, "unknown SessionType")
	}
	if n.exchanges > 1 && n.session != was { // who may log in where was decided by it
		return fault(CodeNegotiation, "SessionType comes late, and changes the session")
	}
	return nil
}

// checkNames applies 6.3 (Login Phase) to the first request.
func (n *Negotiator) checkNames() error {
	if !n.state[idInitiatorName].got {
		return fault(CodeMissingParameter, "no InitiatorName in the first Login Request")
	}
	if !n.state[idTargetName].got && n.session == NormalSession {
		return fault(CodeMissingParameter, "no TargetName in the first Login Request")
	}
	return nil
}

func (n *Negotiator) receive(stage Stage, key, value string, out *Text) error {
	id := lookupKey(key)
	if id == keyCount {
		return n.receiveUnknown(key, value, out)
	}
	k, st := &keyTable[id], &n.state[id]
	peer := Target - n.role
	switch {
	case k.in>>stage&1 == 0:
		return fault(CodeNegotiation, key+" is not allowed in "+stage.String())
	case st.offered && value == ValueNotUnderstood && (id == idInitiatorAlias || id == idTargetAlias):
		return nil // a label for people; no reason to end a session
	case k.from>>peer&1 == 0:
		return fault(CodeNegotiation, key+" is not allowed from the "+peer.String())
	case k.kind == kindElsewhere || id == idTargetAddress:
		return nil
	case k.leading && n.set.AddedConnection:
		return fault(CodeNegotiation, key+" is only allowed on the first connection of a session")
	case st.got && st.early && stage == OperationalNegotiation && n.repeats(id, value):
		st.early = false
		return nil
	case st.got:
		return fault(CodeNegotiation, key+" comes twice")
	}
	st.got, st.early = true, stage == SecurityNegotiation
	switch k.kind {
	case kindDeclare, kindDeclareText:
		return n.declared(id, value)
	case kindObsolete, kindObsoleteFlag:
		return obsolete(k, value, out)
	default: // negotiated
	}
	if st.offered {
		return n.answered(id, value)
	}
	answer, err := n.proposed(id, value)
	if err != nil {
		return err
	}
	out.Add(key, answer)
	return nil
}

// repeats tells whether an initiator says once more who it is and what it wants, word for word. libiscsi does so after
// AuthMethod=None, in the first message of the operational stage; 6.2 would have its login refused.
func (n *Negotiator) repeats(id keyID, value string) bool {
	switch id {
	case idInitiatorName, idInitiatorAlias, idTargetName:
		return n.role == Target && value == n.texts[id]
	case idSessionType:
		return n.role == Target && value == n.session.String()
	default:
		return false
	}
}

// receiveUnknown answers NotUnderstood, a bounded number of times; an answer to what we never sent is an error, or two
// peers could go on forever.
func (n *Negotiator) receiveUnknown(key, value string, out *Text) error {
	n.unknown++
	switch {
	case constantAnswer(value):
		return fault(CodeNegotiation, "answer to "+key+", which was not proposed")
	case n.unknown > maxUnknownKeys:
		return fault(CodeNegotiation, "too many unknown keys")
	}
	out.Add(key, ValueNotUnderstood)
	return nil
}

func constantAnswer(v string) bool {
	return v == ValueNotUnderstood || v == ValueIrrelevant || v == ValueReject
}

// declared takes a declaration of the peer.
func (n *Negotiator) declared(id keyID, value string) error {
	k, st := &keyTable[id], &n.state[id]
	switch id {
	case idInitiatorName, idTargetName:
		if ValidateName(value) != nil {
			return fault(CodeNegotiation, k.name+" is not an iSCSI name")
		}
		n.texts[id] = value
	case idInitiatorAlias, idTargetAlias:
		n.texts[id] = value
	case idSessionType, idNodeArchitecture: // read by learnSessionType; 13.26.2: nothing may depend on it
	default:
		v, ok := ParseNumber(value)
		if !ok || v < uint64(k.min) || v > uint64(k.max) {
			return fault(CodeNegotiation, k.name+" is out of range")
		}
		st.settled, st.value = true, uint32(v)
	}
	return nil
}

// obsolete answers a marker key. RFC 7143 13.25 (Obsoleted Keys): Reject, or No where a flag was already offered as No,
// which spares initiators that take Reject for a failure.
func obsolete(k *keySpec, value string, out *Text) error {
	switch {
	case constantAnswer(value):
		return fault(CodeNegotiation, "answer to "+k.name+", which was not proposed")
	case k.kind == kindObsoleteFlag && value == ValueNo:
		out.Add(k.name, ValueNo)
	default:
		out.Add(k.name, ValueReject)
	}
	return nil
}

// proposed takes a proposal of the peer and returns our answer, which is the outcome.
func (n *Negotiator) proposed(id keyID, value string) (string, error) {
	if constantAnswer(value) {
		return "", fault(CodeNegotiation, "answer to "+keyTable[id].name+", which was not proposed")
	}
	if !n.relevant(id) {
		return ValueIrrelevant, nil
	}
	v, err := n.choose(id, value)
	if err != nil {
		return "", err
	}
	n.settle(id, v)
	return n.format(id, v), nil
}

func (n *Negotiator) choose(id keyID, value string) (uint32, error) {
	k := &keyTable[id]
	if k.kind != kindList {
		v, err := parseValue(k, value)
		return n.set.result(id, v), err
	}
	for rest, more := value, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ",")
		for v := range k.names {
			if k.names[v] == name && n.set.accepts(id, uint32(v)) {
				return uint32(v), nil
			}
		}
	}
	return 0, fault(CodeNegotiation, "no value of "+k.name+" is acceptable")
}

// parseValue reads a boolean or a number within its range.
func parseValue(k *keySpec, value string) (uint32, error) {
	if k.kind == kindAnd || k.kind == kindOr {
		v, ok := ParseBoolean(value)
		if !ok {
			return 0, fault(CodeNegotiation, k.name+" is neither Yes nor No")
		}
		return bit(v), nil
	}
	v, ok := ParseNumber(value)
	if !ok || v < uint64(k.min) || v > uint64(k.max) {
		return 0, fault(CodeNegotiation, k.name+" is out of range")
	}
	return uint32(v), nil
}

// answered takes the answer of the peer to our proposal.
func (n *Negotiator) answered(id keyID, value string) error {
	k := &keyTable[id]
	switch value {
	case ValueReject:
		return fault(CodeNegotiation, "the "+(Target-n.role).String()+" rejects "+k.name)
	case ValueNotUnderstood:
		if !k.optional {
			return fault(CodeNegotiation, "the "+(Target-n.role).String()+" does not understand "+k.name)
		}
		return nil
	case ValueIrrelevant:
		if k.kind == kindList && !n.set.accepts(id, k.def) {
			return fault(CodeNegotiation, k.name+" is called irrelevant but is required")
		}
		if k.kind != kindList { // whoever still counts on it gets the safe side of the default
			n.settle(id, n.set.result(id, k.def))
		}
		return nil
	}
	var v uint32
	var err error
	if k.kind == kindList {
		v, err = listValue(k, value)
	} else {
		v, err = parseValue(k, value)
	}
	if err != nil {
		return err
	}
	if !n.set.accepts(id, v) {
		return fault(CodeNegotiation, "the answer to "+k.name+" is not among what was proposed")
	}
	n.settle(id, v)
	return nil
}

func listValue(k *keySpec, name string) (uint32, error) {
	for v := range k.names {
		if k.names[v] == name {
			return uint32(v), nil
		}
	}
	return 0, fault(CodeNegotiation, "the answer to "+k.name+" is not among what was proposed")
}

func (n *Negotiator) settle(id keyID, v uint32) {
	n.state[id].settled, n.state[id].value = true, v
}
