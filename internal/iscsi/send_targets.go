// SPDX-License-Identifier: Apache-2.0

package iscsi

// SendTargetsAll asks for all targets; only in a discovery session. The empty value asks a normal session for its own
// target. RFC 7143 Appendix C (SendTargets Operation).
const SendTargetsAll = "All"

// TargetRecord is one target of a SendTargets response.
type TargetRecord struct {
	Name      string
	Addresses []TargetAddress // empty: the address of the portal that was asked
}

// ParseSendTargets reads a whole SendTargets response, at most limit addresses and targets together; the text before
// that is bounded by the TextAccumulator. Names come in the order of the response and may repeat. CodeText: the text is
// ill-formed, a name or an address is. CodeNegotiation: another key, an address before the first name, an address
// without portal group tag, more than limit entries. RFC 7143 Appendix C (SendTargets Operation).
func ParseSendTargets(data []byte, limit int) ([]TargetRecord, error) {
	var records []TargetRecord
	err := scanText(data, func(key, value string) error {
		if limit == 0 {
			return fault(CodeNegotiation, "too many targets and addresses")
		}
		limit--
		switch key {
		case KeyTargetName:
			if err := ValidateName(value); err != nil {
				return err
			}
			records = append(records, TargetRecord{Name: value})
			return nil
		case KeyTargetAddress:
			return addAddress(records, value)
		}
		return fault(CodeNegotiation, key+" in a SendTargets response")
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

func addAddress(records []TargetRecord, value string) error {
	if len(records) == 0 {
		return fault(CodeNegotiation, "TargetAddress before the first TargetName")
	}
	a, err := ParseTargetAddress(value)
	if err != nil {
		return err
	}
	if !a.HasPortalGroupTag {
		return fault(CodeNegotiation, "TargetAddress without portal group tag in a SendTargets response")
	}
	last := &records[len(records)-1]
	last.Addresses = append(last.Addresses, a)
	return nil
}

// SendTargetsText returns the text of a SendTargets response. Each address is written with its portal group tag.
func SendTargetsText(records []TargetRecord) Text {
	var t Text
	for i := range records {
		t.Add(KeyTargetName, records[i].Name)
		for _, a := range records[i].Addresses {
			a.HasPortalGroupTag = true
			t.Add(KeyTargetAddress, a.String())
		}
	}
	return t
}
