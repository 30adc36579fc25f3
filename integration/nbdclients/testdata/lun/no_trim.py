# SPDX-License-Identifier: Apache-2.0
#
# errors-server-unadvertised-cmd on a LUN that does not unmap: TRIM is not offered, and one
# that is sent is EINVAL. All else works.
from common import *

for structured in (True, False):
    h = connect(structured=structured, strict=False)
    assert not h.can_trim() and h.can_zero() and not h.is_read_only()
    data = pattern(64 * K)
    h.pwrite(data, M, nbd.CMD_FLAG_FUA)
    for flags in (0, nbd.CMD_FLAG_FUA):
        refused(errno.EINVAL, h.trim, 64 * K, M, flags)
        refused(errno.EINVAL, h.trim, h.get_size(), 0, flags)
        alive(h)
    assert h.pread(64 * K, M) == data
    h.zero(4 * K, M)
    h.flush()
    assert h.pread(64 * K, M) == bytes(4 * K) + data[4 * K:]
    h.shutdown()
