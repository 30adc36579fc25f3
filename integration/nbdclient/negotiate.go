// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Export is what the server told about one export.
type Export struct {
	Name        string
	Description string
	Size        uint64 // bytes
	Flags       TransmissionFlags
	// Block sizes in bytes (NBD_INFO_BLOCK_SIZE); all 0 if the server sent none.
	MinBlock, PreferredBlock, MaxPayload uint32
}

// infoData is the payload of NBD_OPT_INFO and NBD_OPT_GO: the name and the
// information types that are asked for.
func infoData(name string, want ...uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(want)))
	for _, w := range want {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return b
}

// Info performs NBD_OPT_INFO (option OptInfo) or NBD_OPT_GO (OptGo) for name.
// After a successful OptGo the connection is in the transmission phase.
func (r *Raw) Info(option uint32, name string) (Export, error) {
	reps, err := r.Ask(option, infoData(name, InfoName, InfoDescription, InfoBlockSize))
	if err != nil {
		return Export{}, err
	}
	e := Export{Name: name}
	seen := false
	for _, rep := range reps {
		if rep.Type != RepInfo || len(rep.Data) < 2 {
			return e, fmt.Errorf("NBD option %d: unexpected reply type %d with %d bytes", option, rep.Type, len(rep.Data))
		}
		d := rep.Data[2:]
		switch kind := binary.BigEndian.Uint16(rep.Data); kind {
		case InfoExport:
			if len(d) != 10 {
				return e, fmt.Errorf("NBD_INFO_EXPORT has %d bytes, want 12", len(rep.Data))
			}
			e.Size, e.Flags, seen = binary.BigEndian.Uint64(d), TransmissionFlags(binary.BigEndian.Uint16(d[8:])), true
		case InfoName:
			e.Name = string(d)
		case InfoDescription:
			e.Description = string(d)
		case InfoBlockSize:
			if len(d) != 12 {
				return e, fmt.Errorf("NBD_INFO_BLOCK_SIZE has %d bytes, want 14", len(rep.Data))
			}
			e.MinBlock, e.PreferredBlock = binary.BigEndian.Uint32(d), binary.BigEndian.Uint32(d[4:])
			e.MaxPayload = binary.BigEndian.Uint32(d[8:])
		default: // the protocol lets a server send information that was not asked for
		}
	}
	if !seen {
		return e, fmt.Errorf("NBD option %d for %q: no NBD_INFO_EXPORT before the ACK", option, name)
	}
	return e, nil
}

// ExportName performs NBD_OPT_EXPORT_NAME, the oldest way into the
// transmission phase; an unknown name shows as a closed connection.
func (r *Raw) ExportName(name string, noZeroes bool) (Export, error) {
	if err := r.SendOption(OptExportName, []byte(name)); err != nil {
		return Export{}, fmt.Errorf("send NBD_OPT_EXPORT_NAME: %w", err)
	}
	n := 10
	if !noZeroes {
		n += 124
	}
	b, err := r.Read(n)
	if err != nil {
		return Export{}, fmt.Errorf("NBD_OPT_EXPORT_NAME %q: %w", name, err)
	}
	return Export{Name: name, Size: binary.BigEndian.Uint64(b), Flags: TransmissionFlags(binary.BigEndian.Uint16(b[8:]))}, nil
}

// List performs NBD_OPT_LIST and returns the names with their descriptions;
// sizes and flags are not part of a list.
func (r *Raw) List() ([]Export, error) {
	reps, err := r.Ask(OptList, nil)
	if err != nil {
		return nil, err
	}
	var list []Export
	for _, rep := range reps {
		if rep.Type != RepServer || len(rep.Data) < 4 {
			return list, fmt.Errorf("NBD_OPT_LIST: reply type %d with %d bytes", rep.Type, len(rep.Data))
		}
		n := binary.BigEndian.Uint32(rep.Data)
		if uint64(n) > uint64(len(rep.Data)-4) {
			return list, fmt.Errorf("NBD_OPT_LIST: name of %d bytes in a reply of %d", n, len(rep.Data))
		}
		list = append(list, Export{Name: string(rep.Data[4 : 4+n]), Description: string(rep.Data[4+n:])})
	}
	return list, nil
}

// List connects to addr, lists its exports and ends with NBD_OPT_ABORT.
func List(ctx context.Context, addr string) ([]Export, error) {
	r, err := DialRaw(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer r.Abort()
	if _, err := r.Greet(); err != nil {
		return nil, err
	}
	return r.List()
}

// Info connects to addr, asks about one export and ends with NBD_OPT_ABORT.
func Info(ctx context.Context, addr, name string) (Export, error) {
	r, err := DialRaw(ctx, addr)
	if err != nil {
		return Export{}, err
	}
	defer r.Abort()
	if _, err := r.Greet(); err != nil {
		return Export{}, err
	}
	return r.Info(OptInfo, name)
}
