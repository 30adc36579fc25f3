// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// eventJSON is an event as the control API shows it. Names and order of the fields
// are part of that API; fields that do not apply are left out.
type eventJSON struct {
	Seq      uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`
	Severity Severity  `json:"severity"`
	VM       string    `json:"vm,omitempty"`
	Disk     string    `json:"disk,omitempty"`
	Device   string    `json:"device,omitempty"`
	Path     string    `json:"path,omitempty"`
	Session  string    `json:"session,omitempty"`
	Message  string    `json:"message,omitempty"`
	Attrs    attrsJSON `json:"attrs,omitempty"`
}

// MarshalJSON gives one object; times are UTC.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(eventJSON{e.Seq, e.Time.UTC(), e.Kind, e.Severity, e.VM, e.Disk, e.Device, e.Path, e.Session, e.Message, e.Attrs})
}

// UnmarshalJSON is the reverse of MarshalJSON; fields that it does not know are left out.
func (e *Event) UnmarshalJSON(b []byte) error {
	var j eventJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Event{j.Seq, j.Time, j.Kind, j.Severity, j.VM, j.Disk, j.Device, j.Path, j.Session, j.Message, j.Attrs}
	return nil
}

// attrsJSON is an object whose keys keep their order.
type attrsJSON []Attr

func (a attrsJSON) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, attr := range a {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(attr.Key)
		if err != nil {
			return nil, err
		}
		val, err := json.Marshal(attr.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), val...)
	}
	return append(b, '}'), nil
}

func (a *attrsJSON) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("attrs is not an object"), err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		val, err := d.Token()
		if err != nil {
			return err
		}
		s, ok := val.(string)
		if !ok {
			return fmt.Errorf("attrs: %v is not a text", val)
		}
		*a = append(*a, Attr{key.(string), s}) // a key is always a string
	}
	return nil
}
