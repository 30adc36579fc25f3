// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Event is one thing that happened. Which of the object fields are set depends on
// Kind; those that do not apply are empty.
type Event struct {
	Seq      uint64    `json:"seq"` // from 1 in each run of the gateway
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`     // "path-down"
	Severity string    `json:"severity"` // info, notice, warning, error, critical
	VM       string    `json:"vm,omitempty"`
	Disk     string    `json:"disk,omitempty"`
	Device   string    `json:"device,omitempty"`
	Path     string    `json:"path,omitempty"`
	Session  string    `json:"session,omitempty"`
	Message  string    `json:"message,omitempty"`
	Attrs    Attrs     `json:"attrs,omitempty"`
}

// KindEventsLost is the kind of the event that stands for events that a reader
// missed; its detail "lost" is their number.
const KindEventsLost = "events-lost"

// Attr is one detail of an event.
type Attr struct{ Key, Value string }

// Attrs are details in the order in which they are shown; in JSON an object.
type Attrs []Attr

// MarshalJSON keeps the order.
func (a Attrs) MarshalJSON() ([]byte, error) {
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

// UnmarshalJSON is the reverse of MarshalJSON; every value must be a text.
func (a *Attrs) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	t, err := d.Token()
	if err != nil {
		return err
	}
	*a = nil
	switch t {
	case nil:
		return nil
	case json.Delim('{'):
	default:
		return errors.New("attrs is not an object")
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
