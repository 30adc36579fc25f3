# SPDX-License-Identifier: Apache-2.0
#
# errors-server-oversize, READ: more than the 32 MiB that were told is refused.
from common import *

for structured, want in ((True, errno.EOVERFLOW), (False, errno.EINVAL)):
    h = connect(structured=structured, strict=False)
    assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 * M
    for n in (32 * M + 512, 33 * M, 64 * M):
        refused(want, h.pread, n, 0)
        alive(h)
    assert len(h.pread(32 * M, 0)) == 32 * M
    h.shutdown()
