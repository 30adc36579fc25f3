// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// monitor is a connection to QEMU's machine protocol. Not safe for concurrent use.
type monitor struct {
	conn net.Conn
	dec  *json.Decoder
}

// message is what QEMU says.
type message struct {
	QMP    json.RawMessage `json:"QMP"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

func dialMonitor(path string) (*monitor, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: c, dec: json.NewDecoder(c)}
	var hello message
	if err := m.dec.Decode(&hello); err != nil || hello.QMP == nil {
		return nil, errors.Join(errors.New("QEMU's monitor does not greet"), err, c.Close())
	}
	if err := m.do("qmp_capabilities", map[string]any{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return m, nil
}

// do runs a command.
func (m *monitor) do(command string, arguments map[string]any) error {
	if err := m.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
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
		case r.Return != nil:
			return nil // all else are events
		}
	}
}

// link gives a network card its carrier, or takes it.
func (m *monitor) link(card string, up bool) error {
	return m.do("set_link", map[string]any{"name": card, "up": up})
}
