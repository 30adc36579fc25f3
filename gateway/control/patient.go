// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/http"
	"time"
)

// patience bounds what waits for a target: a change of port groups, a preemption.
const patience = 20 * time.Second

// patient gives the context of an answer that waits for a target: it ends after
// patience, or when the client goes. The bounds of a connection are for answers that
// wait for nothing, so they begin anew behind it.
func (s *Server) patient(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	return s.patientFor(w, r, patience)
}

func (s *Server) patientFor(w http.ResponseWriter, r *http.Request, limit time.Duration) (context.Context, context.CancelFunc) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // the request is complete; at its end the context would
	_ = c.SetWriteDeadline(time.Now().Add(limit + s.opt.WriteTimeout))
	return context.WithTimeout(r.Context(), limit)
}

// patiently is the client's side of it.
func patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, patience+requestTimeout)
}
