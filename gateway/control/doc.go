// SPDX-License-Identifier: Apache-2.0

// Package control is the administration of a running gateway: HTTP and JSON over a
// unix socket, as a server that a gateway runs and a client for programs. It knows
// neither gateway nor path manager; a gateway is a [Source].
//
// # The API
//
//	GET  /v1/version
//	GET  /v1/paths                 GET /v1/paths/{name}
//	POST /v1/paths/{name}/disable  POST /v1/paths/{name}/enable
//	POST /v1/paths/{name}/fail     POST /v1/paths/{name}/reinstate
//	GET  /v1/devices               GET /v1/devices/{name, alias or identity}
//	PATCH, DELETE  /v1/devices/{...}/selector       POST /v1/devices/{...}/switch-group
//	PUT, DELETE    /v1/aliases/{alias}
//	GET  /v1/topology?device=NAME  GET /v1/simulate?without=NAME[&without=...][&device=NAME]
//	GET, POST  /v1/rescan
//	GET  /v1/disks                 GET /v1/disks/{vm}/{disk}
//	POST /v1/disks/{vm}/{disk}/release  POST /v1/disks/{vm}/{disk}/resize
//	GET  /v1/vms                   GET /v1/vms/{name}
//	GET  /v1/events?from=N | last=N [&follow=true]
//	GET  /v1/shares
//	GET, PATCH, DELETE  /v1/shares/{vm}  /v1/shares/{vm}/{disk}
//	GET  /v1/share-luns
//	GET, PATCH, DELETE  /v1/share-luns/{name, alias or identity}
//	GET  /v1/share-groups
//	GET, PATCH, DELETE  /v1/share-groups/{name}
//	GET  /v1/reservations          GET /v1/reservations/{name}
//	POST /v1/reservations/{name}/preempt
//	GET, POST  /v1/rules           DELETE /v1/rules/{number}
//	GET  /v1/rule-check            GET /v1/masked-paths
//	GET  /v1/explain?of={vm, vm/disk or LUN}&last=N
//
// A list is a JSON array, never null; its element is what GET of one name gives.
// Names and meanings of fields stay, new fields may come: a client leaves out what
// it does not know. Sizes are bytes, times are UTC, counters count from the start of
// the gateway. Identities with a slash are sent percent-encoded.
//
// A POST may carry a JSON object, at most Options.MaxBody bytes, and answers with the
// path as it is then; the same one twice is no error. Disabling the last usable path
// of a device is refused unless the body is {"force": true}, since its I/O would wait;
// so is failing it, where {"hold": true} keeps it down until it is reinstated. A proof
// and a rescan are begun, not waited for: the field "proving" of the path, and GET of
// the rescan, tell when they are over.
//
// A PATCH carries the fields to change (ShareChange, VMShareChange, LUNShareChange,
// GroupShareChange), and a DELETE takes what PATCHes have set back to the configuration.
// Both are answered when the change is on stable storage and in force, with the object
// as it is then.
//
// An answer that is not 2xx is {"error": {"code": ..., "message": ...}}. The codes are
// those of this package; the message names the object, and the nearest name that
// exists where none has the one asked for.
//
// # Events
//
// Events are numbered from 1 in each run of a gateway. With from=N come those from
// number N on that are kept, with last=N the newest N, without either all that are
// kept. An event of the kind "events-lost" stands where some are missing.
//
// Without follow the answer is an array. With follow=true it is a stream of server-
// sent events (the WHATWG HTML standard, "Server-sent events") that goes on with new
// events: the id is "RUN-SEQ", the data one event, and a comment comes in every
// Options.Heartbeat. A request with the header Last-Event-ID goes on behind that
// event, or, when the gateway has been restarted since, at the oldest event of the
// new run. A reader that stops reading is cut off after Options.WriteTimeout and
// costs nobody else anything.
//
// # Who may
//
// Whoever may connect to the socket may do everything; its mode is the access
// control. What is asked for is logged, and an event of the kind "operator", with the
// process and the user that asked for it.
package control
