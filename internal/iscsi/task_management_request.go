// SPDX-License-Identifier: Apache-2.0

package iscsi

const (
	functionMask = 0x7f
	offRefTag    = 20
	offRefCmdSN  = 32
)

// TaskManagementRequest asks the target to act on tasks. RFC 7143 11.5 (Task Management Function Request).
type TaskManagementRequest struct {
	Immediate bool
	Function  TaskFunction // may be unassigned: the target answers FunctionRejected
	LUN       LUNField     // byte-equal to that of the commands meant; zero for functions without a LUN
	ITT       InitiatorTaskTag

	// ReferencedTaskTag names the task of AbortTask, TaskReassign and QueryTask; NoTag for all others.
	ReferencedTaskTag InitiatorTaskTag

	CmdSN     Serial
	ExpStatSN Serial
	RefCmdSN  Serial // CmdSN of the task meant; for an immediate task, the CmdSN of this request (11.5.5)
	ExpDataSN Serial // TaskReassign only
}

// DecodeTaskManagementRequest reads the header. CodeFormat: ITT NoTag, a data segment, or a referenced tag that does not
// go with the function (11.5.4).
func DecodeTaskManagementRequest(h *BHS) (TaskManagementRequest, error) {
	if err := h.expectEmpty(OpTaskManagementRequest); err != nil {
		return TaskManagementRequest{}, err
	}
	p := TaskManagementRequest{
		Immediate:         h.Immediate(),
		Function:          TaskFunction(h.Flags() & functionMask),
		LUN:               h.LUN(),
		ITT:               h.ITT(),
		ReferencedTaskTag: InitiatorTaskTag(h.u32(offRefTag)),
		CmdSN:             h.CmdSN(),
		ExpStatSN:         h.ExpStatSN(),
		RefCmdSN:          h.serial(offRefCmdSN),
		ExpDataSN:         h.serial(offExpDataSN),
	}
	switch {
	case p.ITT == NoTag:
		return TaskManagementRequest{}, fault(CodeFormat, "task management request without a task tag")
	case p.Function.NamesTask() && p.ReferencedTaskTag == NoTag:
		return TaskManagementRequest{}, fault(CodeFormat, p.Function.String()+" that names no task")
	}
	return p, nil
}

// Encode writes all of h. Fields that the function does not use are written as reserved: LUN, RefCmdSN and ExpDataSN as
// 0, ReferencedTaskTag as NoTag.
func (p TaskManagementRequest) Encode(h *BHS) {
	h.start(OpTaskManagementRequest, p.Immediate, bitFinal|byte(p.Function)&functionMask)
	h.putITT(p.ITT)
	h.put32(offRefTag, NoTag)
	h.SetCmdSN(p.CmdSN)
	h.SetExpStatSN(p.ExpStatSN)
	if p.Function.NamesLUN() {
		h.putLUN(p.LUN)
	}
	if p.Function.NamesTask() {
		h.put32(offRefTag, uint32(p.ReferencedTaskTag))
	}
	if p.Function == AbortTask || p.Function == QueryTask {
		h.put32(offRefCmdSN, p.RefCmdSN.n)
	}
	if p.Function == TaskReassign {
		h.put32(offExpDataSN, p.ExpDataSN.n)
	}
}
