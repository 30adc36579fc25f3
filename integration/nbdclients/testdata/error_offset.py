# SPDX-License-Identifier: Apache-2.0
#
# errors-server-invalid-offset: ranges that end, or begin, behind the export. A WRITE or
# WRITE_ZEROES there is ENOSPC, all else EINVAL, and so is a range that has no end in 64 bits.
# Nothing is done of what is inside.
from common import *

data = b"x" * 1024
for structured in (True, False):
    h = connect(structured=structured, contexts=[ALLOCATION] if structured else [], strict=False)
    for at in (SIZE - 512, SIZE, 1 << 40, (1 << 63) - 1024, 1 << 63, (1 << 64) - 2048, (1 << 64) - 1024, (1 << 64) - 512):
        beyond = errno.ENOSPC if at + 1024 < 1 << 64 else errno.EINVAL
        refused(errno.EINVAL, h.pread, 1024, at)
        refused(beyond, h.pwrite, data, at)
        refused(beyond, h.pwrite, data, at, nbd.CMD_FLAG_FUA)
        refused(beyond, h.zero, 1024, at)
        refused(errno.EINVAL, h.trim, 1024, at)
        refused(errno.EINVAL, h.cache, 1024, at)
        if structured:
            refused(errno.EINVAL, status, h, 1024, at)
        alive(h)
    refused(errno.EINVAL, h.trim, (1 << 32) - 512, 0)
    refused(errno.ENOSPC, h.zero, (1 << 32) - 512, 0)
    refused(errno.EINVAL, h.cache, (1 << 32) - 512, 0)
    alive(h)
    assert h.pread(512, SIZE - 512) == bytes(512)
    h.shutdown()
