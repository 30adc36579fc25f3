// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
)

// Association tells what a designator names (SPC-4, Designation descriptor).
type Association uint8

// Associations.
const (
	OfUnit   Association = 0 // the logical unit
	OfPort   Association = 1 // the target port that carried the command
	OfDevice Association = 2 // the target device
)

// DesignatorType is the form of a designator.
type DesignatorType uint8

// Designator types.
const (
	DesignatorVendor       DesignatorType = 0 // vendor specific
	DesignatorT10          DesignatorType = 1 // 8 bytes vendor, then its identifier
	DesignatorEUI64        DesignatorType = 2 // 8, 12 or 16 bytes
	DesignatorNAA          DesignatorType = 3 // 8 or 16 bytes
	DesignatorRelativePort DesignatorType = 4 // relative target port identifier
	DesignatorPortGroup    DesignatorType = 5 // target port group
	DesignatorUnitGroup    DesignatorType = 6 // logical unit group
	DesignatorMD5          DesignatorType = 7 // MD5 logical unit identifier
	DesignatorName         DesignatorType = 8 // SCSI name string
)

// CodeSet is the coding of a designator's value.
type CodeSet uint8

// Code sets.
const (
	CodeBinary CodeSet = 1
	CodeASCII  CodeSet = 2
	CodeUTF8   CodeSet = 3
)

// ProtocolISCSI is the protocol identifier of iSCSI (SPC-4).
const ProtocolISCSI = 5

// Designator is one designation descriptor of VPD page 83h.
type Designator struct {
	// Association, Type and CodeSet as sent; values outside the constants are
	// passed on.
	Association Association
	Type        DesignatorType
	CodeSet     CodeSet
	// Protocol counts if HasProtocol (PIV).
	Protocol    uint8
	HasProtocol bool
	// Value is at most 255 bytes. From a decoder it borrows the input.
	Value []byte
}

// DecodeDesignators reads VPD page 83h and appends its designators to dst. Their
// values borrow b. A page without any is no error.
func DecodeDesignators(dst []Designator, b []byte) ([]Designator, error) {
	p, err := VPDPayload(b, PageIdentification)
	if err != nil {
		return dst, err
	}
	for len(p) > 0 {
		if len(p) < 4 || len(p) < 4+int(p[3]) {
			return dst, fmt.Errorf("VPD page 83h: designator: %w", ErrMalformed)
		}
		n := 4 + int(p[3])
		dst = append(dst, Designator{
			Association: Association(p[1] >> 4 & 3), Type: DesignatorType(p[1] & 0x0f), CodeSet: CodeSet(p[0] & 0x0f),
			Protocol: p[0] >> 4, HasProtocol: p[1]&0x80 != 0, Value: p[4:n:n],
		})
		p = p[n:]
	}
	return dst, nil
}

// AppendDesignators appends VPD page 83h. Values above 255 bytes are cut; the
// sum must stay below 64 KiB.
func AppendDesignators(dst []byte, p Peripheral, list []Designator) []byte {
	var payload []byte
	for _, d := range list {
		payload = d.append(payload)
	}
	return AppendVPD(dst, p, PageIdentification, payload)
}

func (d Designator) append(dst []byte) []byte {
	v := d.Value[:min(len(d.Value), 255)]
	dst = append(dst, d.Protocol<<4|byte(d.CodeSet)&0x0f,
		bit(d.HasProtocol, 0x80)|byte(d.Association)&3<<4|byte(d.Type)&0x0f, 0, byte(len(v)))
	return append(dst, v...)
}

// PortNames are a target port in VPD page 88h: its relative identifier and its
// designators.
type PortNames struct {
	Relative uint16
	List     []Designator
}

// AppendPorts appends VPD page 88h (SPC-4, SCSI Ports) of target ports.
func AppendPorts(dst []byte, p Peripheral, ports []PortNames) []byte {
	be := binary.BigEndian
	var payload []byte
	for _, port := range ports {
		payload = append(payload, 0, 0, byte(port.Relative>>8), byte(port.Relative), 0, 0, 0, 0, 0, 0, 0, 0)
		at := len(payload)
		for _, d := range port.List {
			payload = d.append(payload)
		}
		be.PutUint16(payload[at-2:], uint16(len(payload)-at))
	}
	return AppendVPD(dst, p, PagePorts, payload)
}

// Number returns the 16-bit number of a relative target port, target port group
// or logical unit group designator.
func (d Designator) Number() (uint16, bool) {
	switch d.Type {
	case DesignatorRelativePort, DesignatorPortGroup, DesignatorUnitGroup:
		if len(d.Value) == 4 {
			return binary.BigEndian.Uint16(d.Value[2:]), true
		}
	case DesignatorVendor, DesignatorT10, DesignatorEUI64, DesignatorNAA, DesignatorMD5, DesignatorName:
	}
	return 0, false
}

// PortOf returns the relative target port and the target port group that the
// list names for the port it came through.
func PortOf(list []Designator) (port, group uint16, hasPort, hasGroup bool) {
	for _, d := range list {
		if d.Association != OfPort {
			continue
		}
		n, ok := d.Number()
		switch {
		case ok && d.Type == DesignatorRelativePort && !hasPort:
			port, hasPort = n, true
		case ok && d.Type == DesignatorPortGroup && !hasGroup:
			group, hasGroup = n, true
		}
	}
	return port, group, hasPort, hasGroup
}

// NAALocal returns an NAA 3 (locally assigned) designator of the unit; n has 60
// bits.
func NAALocal(n uint64) Designator {
	return Designator{
		Type: DesignatorNAA, CodeSet: CodeBinary,
		Value: binary.BigEndian.AppendUint64(nil, 3<<60|n&(1<<60-1)),
	}
}

// NAARegistered returns an NAA 6 (IEEE registered extended) designator of the
// unit: 24 bits company, 36 bits vendor specific, 64 bits extension.
func NAARegistered(oui uint32, vendor, extension uint64) Designator {
	v := binary.BigEndian.AppendUint64(nil, 6<<60|uint64(oui&0xffffff)<<36|vendor&(1<<36-1))
	return Designator{Type: DesignatorNAA, CodeSet: CodeBinary, Value: binary.BigEndian.AppendUint64(v, extension)}
}

// T10Designator returns a T10 vendor designator of the unit; vendor is padded or
// cut to 8 bytes.
func T10Designator(vendor, id string) Designator {
	v := make([]byte, 8, 8+len(id))
	putPadded(v, vendor)
	return Designator{Type: DesignatorT10, CodeSet: CodeASCII, Value: append(v, id...)}
}

// PortDesignator returns a relative target port or target port group designator
// of an iSCSI port.
func PortDesignator(t DesignatorType, n uint16) Designator {
	return Designator{
		Association: OfPort, Type: t, CodeSet: CodeBinary,
		Protocol: ProtocolISCSI, HasProtocol: true, Value: []byte{0, 0, byte(n >> 8), byte(n)},
	}
}

// NameDesignator returns a SCSI name string designator, such as the name of an
// iSCSI target (OfDevice) or port (OfPort); NUL-padded to a multiple of 4 bytes.
func NameDesignator(a Association, name string) Designator {
	v := append([]byte(name), 0)
	for len(v)%4 != 0 {
		v = append(v, 0)
	}
	return Designator{
		Association: a, Type: DesignatorName, CodeSet: CodeUTF8,
		Protocol: ProtocolISCSI, HasProtocol: true, Value: v,
	}
}
