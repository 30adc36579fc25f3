# SPDX-License-Identifier: Apache-2.0
#
# WRITE_ZEROES: zeros, also with FUA, in odd pieces and of the whole disk at once.
from common import *

for structured in (True, False):
    for flags in (0, nbd.CMD_FLAG_FUA):
        h = connect(structured=structured)
        assert h.can_zero()
        data = pattern(256 * K)
        h.pwrite(data, 0)
        h.zero(5 * K, 512, flags)
        h.zero(64 * K, 128 * K, flags)
        assert h.pread(256 * K, 0) == (data[:512] + bytes(5 * K) + data[5 * K + 512:128 * K] +
                                       bytes(64 * K) + data[192 * K:])
        h.zero(SIZE, 0, flags)
        assert h.pread(256 * K, 0) == bytes(256 * K)
        h.shutdown()
