# SPDX-License-Identifier: Apache-2.0
#
# errors-server-unadvertised-cmd: what was not offered, or not negotiated, is refused. Of a
# read-only disk changes are EPERM.
from common import *

for structured in (True, False):
    h = connect(structured=structured, strict=False)
    assert not h.can_meta_context(ALLOCATION)
    if structured:
        refused(errno.EINVAL, status, h, 512, 0)
    else:
        refused(errno.EINVAL, h.pread_structured, 512, 0, lambda *a: None, nbd.CMD_FLAG_DF)
    alive(h)
    h.shutdown()
    h = connect(export="vm1/ro", structured=structured, strict=False)
    for flags in (0, nbd.CMD_FLAG_FUA):
        refused(errno.EPERM, h.pwrite, b"x" * 4096, 0, flags)
        refused(errno.EPERM, h.trim, 4096, 0, flags)
        refused(errno.EPERM, h.zero, 4096, 0, flags)
        alive(h)
    refused(errno.EPERM, h.zero, 4096, 0, nbd.CMD_FLAG_NO_HOLE)
    assert h.pread(4096, 0) == b"r" * 4096
    h.shutdown()
