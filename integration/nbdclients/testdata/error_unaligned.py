# SPDX-License-Identifier: Apache-2.0
#
# errors-server-unaligned: offsets and lengths that are not in whole blocks.
from common import *

for export, block, size in ((EXPORT, 512, SIZE), ("vm1/4k", 4096, 8 * M)):
    for structured in (True, False):
        h = connect(export=export, structured=structured, contexts=[ALLOCATION] if structured else [], strict=False)
        assert h.get_block_size(nbd.SIZE_MINIMUM) == block
        for n, at in ((1, 1), (1, 0), (block, 1), (block - 1, 0), (block + 1, block), (block // 2, block // 2), (block, size - 1)):
            refused(errno.EINVAL, h.pread, n, at)
            refused(errno.EINVAL, h.pwrite, b"x" * n, at)
            refused(errno.EINVAL, h.trim, n, at)
            refused(errno.EINVAL, h.zero, n, at)
            refused(errno.EINVAL, h.cache, n, at)
            if structured:
                refused(errno.EINVAL, status, h, n, at)
            assert h.pread(block, 0) == bytes(block)
        h.shutdown()
