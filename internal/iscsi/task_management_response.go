// SPDX-License-Identifier: Apache-2.0

package iscsi

// TaskManagementResponse tells the outcome of a task management function.
// RFC 7143 11.6 (Task Management Function Response).
type TaskManagementResponse struct {
	Response TaskResponse // may be unassigned, which proves nothing about the tasks
	ITT      InitiatorTaskTag
	Numbers
}

// DecodeTaskManagementResponse reads the header.
func DecodeTaskManagementResponse(h *BHS) (TaskManagementResponse, error) {
	if err := h.expectEmpty(OpTaskManagementResponse); err != nil {
		return TaskManagementResponse{}, err
	}
	return TaskManagementResponse{Response: TaskResponse(h[offResponse]), ITT: h.ITT(), Numbers: h.numbers()}, nil
}

// Encode writes all of h.
func (p TaskManagementResponse) Encode(h *BHS) {
	h.start(OpTaskManagementResponse, false, bitFinal)
	h[offResponse] = byte(p.Response)
	h.putITT(p.ITT)
	h.putNumbers(p.Numbers)
}
