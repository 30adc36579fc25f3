# SPDX-License-Identifier: Apache-2.0
#
# errors-server-zerosize: requests of nothing.
from common import *

for structured in (True, False):
    h = connect(structured=structured, contexts=[ALLOCATION] if structured else [], strict=False)
    for at in (0, 512, SIZE):
        refused(errno.EINVAL, h.pread, 0, at)
        refused(errno.EINVAL, h.pwrite, b"", at)
        refused(errno.EINVAL, h.trim, 0, at)
        refused(errno.EINVAL, h.zero, 0, at)
        refused(errno.EINVAL, h.cache, 0, at)
        if structured:
            refused(errno.EINVAL, status, h, 0, at)
        alive(h)
    h.shutdown()
