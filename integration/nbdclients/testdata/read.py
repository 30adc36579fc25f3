# SPDX-License-Identifier: Apache-2.0
#
# READ: what was written, zeros where nothing was, up to the last byte, and 32 MiB at once.
from common import *

for structured in (True, False):
    h = connect(structured=structured)
    data = pattern(128 * K)
    h.pwrite(data, M)
    assert h.pread(128 * K, M) == data
    assert h.pread(512, M + 512) == data[512:1024]
    assert h.pread(64 * K, 8 * M) == bytes(64 * K)
    assert h.pread(M, SIZE - M) == bytes(M)
    whole = h.pread(32 * M, 0)
    assert whole[M:M + 128 * K] == data
    assert whole.count(0, 0, M) == M
    h.shutdown()
