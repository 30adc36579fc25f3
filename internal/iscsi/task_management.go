// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// TaskFunction is a task management function. RFC 7143 11.5.1 (Function); 9-12 RFC 7144 6.3.
type TaskFunction uint8

// The task management functions. Those from QueryTask on need iSCSIProtocolLevel 2.
const (
	AbortTask              TaskFunction = 1
	AbortTaskSet           TaskFunction = 2
	ClearACA               TaskFunction = 3
	ClearTaskSet           TaskFunction = 4
	LogicalUnitReset       TaskFunction = 5
	TargetWarmReset        TaskFunction = 6
	TargetColdReset        TaskFunction = 7
	TaskReassign           TaskFunction = 8
	QueryTask              TaskFunction = 9
	QueryTaskSet           TaskFunction = 10
	ITNexusReset           TaskFunction = 11
	QueryAsynchronousEvent TaskFunction = 12
)

// String returns the name in SAM's capitals.
func (f TaskFunction) String() string {
	switch f {
	case AbortTask:
		return "ABORT TASK"
	case AbortTaskSet:
		return "ABORT TASK SET"
	case ClearACA:
		return "CLEAR ACA"
	case ClearTaskSet:
		return "CLEAR TASK SET"
	case LogicalUnitReset:
		return "LOGICAL UNIT RESET"
	case TargetWarmReset:
		return "TARGET WARM RESET"
	case TargetColdReset:
		return "TARGET COLD RESET"
	case TaskReassign:
		return "TASK REASSIGN"
	case QueryTask:
		return "QUERY TASK"
	case QueryTaskSet:
		return "QUERY TASK SET"
	case ITNexusReset:
		return "I_T NEXUS RESET"
	case QueryAsynchronousEvent:
		return "QUERY ASYNCHRONOUS EVENT"
	}
	return "task management function " + strconv.Itoa(int(f))
}

// NamesTask reports whether the function acts on one task, named by Referenced Task Tag and, except for TaskReassign,
// by RefCmdSN.
func (f TaskFunction) NamesTask() bool { return f == AbortTask || f == TaskReassign || f == QueryTask }

// NamesLUN reports whether the LUN field is significant. RFC 7143 11.5.3 (LUN), RFC 7144 6.3.1.
func (f TaskFunction) NamesLUN() bool {
	switch f {
	case AbortTask, AbortTaskSet, ClearACA, ClearTaskSet, LogicalUnitReset, QueryTask, QueryTaskSet, QueryAsynchronousEvent:
		return true
	case TargetWarmReset, TargetColdReset, TaskReassign, ITNexusReset:
		return false
	}
	return false
}

// TaskResponse is the outcome of a task management function. RFC 7143 11.6.1 (Response); 7: RFC 7144 6.4.2.
type TaskResponse uint8

// The task management responses.
const (
	FunctionComplete            TaskResponse = 0
	TaskDoesNotExist            TaskResponse = 1
	LUNDoesNotExist             TaskResponse = 2
	TaskStillAllegiant          TaskResponse = 3
	ReassignmentNotSupported    TaskResponse = 4
	FunctionNotSupported        TaskResponse = 5
	FunctionAuthorizationFailed TaskResponse = 6
	FunctionSucceeded           TaskResponse = 7
	FunctionRejected            TaskResponse = 255
)

// String returns the RFC's words.
func (r TaskResponse) String() string {
	switch r {
	case FunctionComplete:
		return "function complete"
	case TaskDoesNotExist:
		return "task does not exist"
	case LUNDoesNotExist:
		return "LUN does not exist"
	case TaskStillAllegiant:
		return "task still allegiant"
	case ReassignmentNotSupported:
		return "task allegiance reassignment not supported"
	case FunctionNotSupported:
		return "task management function not supported"
	case FunctionAuthorizationFailed:
		return "function authorization failed"
	case FunctionSucceeded:
		return "function succeeded"
	case FunctionRejected:
		return "function rejected"
	}
	return "task management response " + strconv.Itoa(int(r))
}
