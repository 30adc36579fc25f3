// SPDX-License-Identifier: Apache-2.0

package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// answerLimit bounds how long a command may take.
const answerLimit = 2 * time.Minute

// Monitor is a connection to QEMU. Not safe for concurrent use.
type Monitor struct {
	conn   net.Conn
	dec    *json.Decoder
	events []Event // those that nobody has waited for yet
}

// Event is something that QEMU tells by itself.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// message is what QEMU says.
type message struct {
	Event
	QMP    json.RawMessage `json:"QMP"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// Dial connects to the monitor at a unix socket.
func Dial(path string) (*Monitor, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	m := &Monitor{conn: c, dec: json.NewDecoder(c)}
	var hello message
	if err := c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := m.dec.Decode(&hello); err != nil || hello.QMP == nil {
		return nil, errors.Join(errors.New("QEMU's monitor does not greet"), err, c.Close())
	}
	if err := m.Do("qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return m, nil
}

// Close ends the connection; QEMU goes on.
func (m *Monitor) Close() error { return m.conn.Close() }

// Do runs a command, and decodes what it returns into result if that is not nil.
func (m *Monitor) Do(command string, arguments map[string]any, result any) error {
	if arguments == nil {
		arguments = map[string]any{}
	}
	if err := m.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	if err := json.NewEncoder(m.conn).Encode(map[string]any{"execute": command, "arguments": arguments}); err != nil {
		return fmt.Errorf("QEMU: %s: %w", command, err)
	}
	for {
		var r message
		if err := m.dec.Decode(&r); err != nil {
			return fmt.Errorf("QEMU: %s: %w", command, err)
		}
		switch {
		case r.Error != nil:
			return fmt.Errorf("QEMU: %s: %s", command, r.Error.Desc)
		case r.Return != nil && result != nil:
			return json.Unmarshal(r.Return, result)
		case r.Return != nil:
			return nil
		case r.Name != "":
			m.events = append(m.events, r.Event)
		}
	}
}

// Wait gives the next event of one of the names; those before it are forgotten. A
// monitor that has failed or waited in vain is of no use any more.
func (m *Monitor) Wait(limit time.Duration, names ...string) (Event, error) {
	if err := m.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return Event{}, err
	}
	for {
		for len(m.events) > 0 {
			e := m.events[0]
			m.events = m.events[1:]
			if slices.Contains(names, e.Name) {
				return e, nil
			}
		}
		var r message
		if err := m.dec.Decode(&r); err != nil {
			return Event{}, fmt.Errorf("QEMU: waiting for %v: %w", names, err)
		}
		if r.Name != "" {
			m.events = append(m.events, r.Event)
		}
	}
}
