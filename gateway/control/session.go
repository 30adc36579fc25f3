// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/http"
	"time"
)

// Session is a client of a front-end: an iSCSI session, or an NBD connection.
type Session struct {
	// Name is that of the connection, as in events: "iscsi 192.0.2.7:50312".
	Name     string `json:"name"`
	Frontend string `json:"frontend"` // iscsi or nbd
	Local    string `json:"local"`    // address that the client came to
	// Uses is the iSCSI target, or the NBD export. "": a discovery session, or a client
	// that has not chosen yet.
	Uses string `json:"uses,omitempty"`
	VM   string `json:"vm,omitempty"` // of what it uses
	// Client is who it counts as where a disk has one owner, for people.
	Client string `json:"client,omitempty"`
	// Initiator is the name that an iSCSI initiator gave itself, Alias what it says for
	// people, User the CHAP name that it proved.
	Initiator string `json:"initiator,omitempty"`
	Alias     string `json:"alias,omitempty"`
	User      string `json:"user,omitempty"`
	// TLS is the version and Cipher the cipher suite of an NBD client that has begun TLS;
	// Certificate is the name in the certificate that it has proved.
	TLS         string    `json:"tls,omitempty"`
	Cipher      string    `json:"cipher,omitempty"`
	Certificate string    `json:"certificate,omitempty"`
	ISID        string    `json:"isid,omitempty"`
	TSIH        uint16    `json:"tsih,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	// Outstanding counts the requests that are not answered, Window how many there may
	// be now (iSCSI), Completed those that were answered (iSCSI).
	Outstanding int    `json:"outstanding"`
	Window      int    `json:"window,omitempty"`
	Completed   uint64 `json:"completed,omitempty"`
	// PendingBytes of answers wait for the client to take them.
	PendingBytes int64 `json:"pending_bytes"`
	// Keys are what was negotiated, by its names in RFC 7143.
	Keys Attrs `json:"keys,omitempty"`
}

// SessionSource is the part of a Source that knows the clients. Called concurrently,
// without waiting for any of them.
type SessionSource interface {
	// Sessions gives all clients: iSCSI, then NBD, each the oldest first.
	Sessions() []Session
}

func (s *Server) listSessions(w http.ResponseWriter, _ *http.Request) error {
	src, ok := s.src.(SessionSource)
	if !ok {
		return &Error{CodeNotFound, "this gateway does not tell its sessions"}
	}
	return writeList(w, src.Sessions())
}

// Sessions gives the clients of the front-ends.
func (c *Client) Sessions(ctx context.Context) (list []Session, err error) {
	return list, c.get(ctx, &list, "sessions")
}
