// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"testing"

	"pathgate/backends"
)

// The values of NBD proto.md, copied from its text, against those that come from
// the protocol package and our own.
func TestConstants(t *testing.T) {
	tests := []struct {
		name      string
		want, got uint64
	}{
		{"NBDMAGIC", 0x4e42444d41474943, magicInit},
		{"IHAVEOPT", 0x49484156454f5054, magicOption},
		{"option reply", 0x3e889045565a9, magicOptionReply},
		{"NBD_REQUEST_MAGIC", 0x25609513, uint64(magicRequest)},
		{"NBD_SIMPLE_REPLY_MAGIC", 0x67446698, uint64(magicReply)},
		{"NBD_FLAG_FIXED_NEWSTYLE", 1 << 0, uint64(flagFixedNewstyle)},
		{"NBD_FLAG_NO_ZEROES", 1 << 1, uint64(flagNoZeroes)},
		{"NBD_OPT_EXPORT_NAME", 1, uint64(optExportName)},
		{"NBD_OPT_ABORT", 2, uint64(optAbort)},
		{"NBD_OPT_LIST", 3, uint64(optList)},
		{"NBD_OPT_INFO", 6, uint64(optInfo)},
		{"NBD_OPT_GO", 7, uint64(optGo)},
		{"NBD_REP_ACK", 1, uint64(repAck)},
		{"NBD_REP_SERVER", 2, uint64(repServer)},
		{"NBD_REP_INFO", 3, uint64(repInfo)},
		{"NBD_REP_ERR_UNSUP", 1<<31 + 1, uint64(repErrUnsup)},
		{"NBD_REP_ERR_POLICY", 1<<31 + 2, uint64(repErrPolicy)},
		{"NBD_REP_ERR_INVALID", 1<<31 + 3, uint64(repErrInvalid)},
		{"NBD_REP_ERR_UNKNOWN", 1<<31 + 6, uint64(repErrUnknown)},
		{"NBD_REP_ERR_SHUTDOWN", 1<<31 + 7, uint64(repErrShutdown)},
		{"NBD_REP_ERR_TOO_BIG", 1<<31 + 9, uint64(repErrTooBig)},
		{"NBD_INFO_EXPORT", 0, uint64(infoExport)},
		{"NBD_INFO_NAME", 1, uint64(infoName)},
		{"NBD_INFO_DESCRIPTION", 2, uint64(infoDescription)},
		{"NBD_INFO_BLOCK_SIZE", 3, uint64(infoBlockSize)},
		{"NBD_FLAG_HAS_FLAGS", 1 << 0, uint64(txHasFlags)},
		{"NBD_FLAG_READ_ONLY", 1 << 1, uint64(txReadOnly)},
		{"NBD_FLAG_SEND_FLUSH", 1 << 2, uint64(txSendFlush)},
		{"NBD_FLAG_SEND_FUA", 1 << 3, uint64(txSendFUA)},
		{"NBD_FLAG_ROTATIONAL", 1 << 4, uint64(txRotational)},
		{"NBD_FLAG_SEND_TRIM", 1 << 5, uint64(txSendTrim)},
		{"NBD_FLAG_SEND_WRITE_ZEROES", 1 << 6, uint64(txSendWriteZeroes)},
		{"NBD_FLAG_CAN_MULTI_CONN", 1 << 8, uint64(txCanMultiConn)},
		{"NBD_FLAG_SEND_CACHE", 1 << 10, uint64(txSendCache)},
		{"NBD_FLAG_SEND_FAST_ZERO", 1 << 11, uint64(txSendFastZero)},
		{"NBD_CMD_READ", 0, uint64(cmdRead)},
		{"NBD_CMD_WRITE", 1, uint64(cmdWrite)},
		{"NBD_CMD_DISC", 2, uint64(cmdDisc)},
		{"NBD_CMD_FLUSH", 3, uint64(cmdFlush)},
		{"NBD_CMD_TRIM", 4, uint64(cmdTrim)},
		{"NBD_CMD_CACHE", 5, uint64(cmdCache)},
		{"NBD_CMD_WRITE_ZEROES", 6, uint64(cmdWriteZeroes)},
		{"NBD_CMD_FLAG_FUA", 1 << 0, uint64(cmdFlagFUA)},
		{"NBD_CMD_FLAG_NO_HOLE", 1 << 1, uint64(cmdFlagNoHole)},
		{"NBD_CMD_FLAG_FAST_ZERO", 1 << 4, uint64(cmdFlagFastZero)},
		{"NBD_EPERM", 1, uint64(errPerm)},
		{"NBD_EIO", 5, uint64(errIO)},
		{"NBD_EINVAL", 22, uint64(errInval)},
		{"NBD_ENOSPC", 28, uint64(errNoSpace)},
		{"NBD_ENOTSUP", 95, uint64(errNotSup)},
		{"NBD_ESHUTDOWN", 108, uint64(errShutdown)},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
}

func TestRequestAndReplyBytes(t *testing.T) {
	in := []byte{
		0x25, 0x60, 0x95, 0x13, // magic
		0x00, 0x11, // FUA, FAST_ZERO
		0x00, 0x06, // WRITE_ZEROES
		1, 2, 3, 4, 5, 6, 7, 8, // cookie
		0, 0, 0, 1, 0, 0, 0x10, 0, // offset
		0xff, 0xff, 0xfe, 0, // length
	}
	want := header{
		magic: magicRequest, flags: cmdFlagFUA | cmdFlagFastZero, cmd: cmdWriteZeroes,
		cookie: 0x0102030405060708, offset: 1<<32 + 4096, length: 0xfffffe00,
	}
	if got := decodeHeader(in); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var b replyHeader
	n := b.end(simple, 0x0102030405060708, 0, refusal{errNoSpace, "unseen"})
	reply := []byte{0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8}
	if !bytes.Equal(b[:n], reply) {
		t.Errorf("got % x, want % x", b[:n], reply)
	}
	o := appendOptionReply(nil, optGo, repErrUnknown, 3)
	option := []byte{
		0, 3, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, // magic
		0, 0, 0, 7, // GO
		0x80, 0, 0, 6, // ERR_UNKNOWN
		0, 0, 0, 3, // length
	}
	if !bytes.Equal(o, option) {
		t.Errorf("got % x, want % x", o, option)
	}
	if got := decodeOptionHeader([]byte("IHAVEOPT\x00\x00\x00\x07\x00\x00\x01\x00")); got !=
		(optionHeader{magicOption, optGo, 256}) {
		t.Errorf("got %+v", got)
	}
}

func TestErrnoOfEveryClass(t *testing.T) {
	tests := []struct {
		class backends.Class
		want  errno
	}{
		{backends.OK, 0},
		{backends.Transport, errIO},
		{backends.Busy, errIO},
		{backends.Medium, errIO},
		{backends.IllegalRequest, errInval},
		{backends.Unsupported, errInval},
		{backends.DataProtect, errPerm},
		{backends.Miscompare, errIO},
		{backends.ReservationConflict, errIO},
		{backends.NoSpace, errNoSpace},
		{backends.NoPath, errIO},
		{backends.Aborted, errIO},
		{0, errIO}, // a forgotten result is no success
	}
	for _, tt := range tests {
		if got := errnoOf(&backends.Request{Op: backends.Write}, tt.class, false); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.class, got, tt.want)
		}
	}
	if got := errnoOf(&backends.Request{Op: backends.Write}, backends.Aborted, true); got != errShutdown {
		t.Errorf("aborted by a stop: got %d, want ESHUTDOWN", got)
	}
	unsupported := []struct {
		r    backends.Request
		want errno
	}{
		{backends.Request{Op: backends.WriteZeroes, FastZero: true}, errNotSup},
		{backends.Request{Op: backends.WriteZeroes}, errInval}, // MUST NOT be ENOTSUP
		{backends.Request{Op: backends.Unmap}, 0},
		{backends.Request{Op: backends.Cache}, 0},
		{backends.Request{Op: backends.Read}, errInval},
	}
	for _, tt := range unsupported {
		if got := errnoOf(&tt.r, backends.Unsupported, false); got != tt.want {
			t.Errorf("unsupported %v: got %d, want %d", tt.r.Op, got, tt.want)
		}
	}
}

func TestExportFlags(t *testing.T) {
	const zeroes = txSendWriteZeroes | txSendFastZero
	const always = txHasFlags | txSendFlush | txSendFUA | zeroes
	tests := []struct {
		name string
		caps backends.Caps
		want txFlags
	}{
		{"nothing", 0, always},
		{"P3 multi-conn only by the device's word", backends.MultiConn, always | txCanMultiConn},
		{"trim", backends.CanUnmap, always | txSendTrim},
		{"cache", backends.CanCache, always | txSendCache},
		{"rotational", backends.Rotational, always | txRotational},
		{
			"read-only", backends.ReadOnly | backends.CanUnmap | backends.CanWriteZeroes | backends.CanCache,
			always&^zeroes | txReadOnly | txSendCache,
		},
		{
			"B52 DF is never offered", ^backends.Caps(0) &^ backends.ReadOnly,
			always | txSendTrim | txSendCache | txRotational | txCanMultiConn,
		},
	}
	for _, tt := range tests {
		if got := exportFlags(tt.caps); got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, got, tt.want)
		}
	}
}

func TestBlockSizes(t *testing.T) {
	tests := []struct {
		logical, physical uint32
		want              [3]uint32
	}{
		{512, 4096, [3]uint32{512, 4096, 1 << 25}},
		{4096, 512, [3]uint32{4096, 4096, 1 << 25}},
		{512, 0, [3]uint32{512, 512, 1 << 25}},
		{512, 3000, [3]uint32{512, 512, 1 << 25}},       // no power of two
		{4096, 1 << 30, [3]uint32{4096, 4096, 1 << 25}}, // above the payload limit
	}
	for _, tt := range tests {
		a, b, c := blockSizes(&backends.Info{LogicalBlock: tt.logical, PhysicalBlock: tt.physical}, DefaultMaxPayload)
		if got := [3]uint32{a, b, c}; got != tt.want {
			t.Errorf("%d/%d: got %v, want %v", tt.logical, tt.physical, got, tt.want)
		}
	}
	for _, bad := range []backends.Info{
		{LogicalBlock: 0}, {LogicalBlock: 513}, {LogicalBlock: 1 << 17, Size: 1 << 20}, {LogicalBlock: 512, Size: 1000},
	} {
		if checkInfo(&bad) == nil {
			t.Errorf("%+v can be exported", bad)
		}
	}
}
