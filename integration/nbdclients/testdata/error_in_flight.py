# SPDX-License-Identifier: Apache-2.0
#
# Good and bad requests in flight together: each has its own answer.
from common import *

for structured in (True, False):
    h = connect(structured=structured, strict=False)
    h.pwrite(pattern(64 * K), 0)
    got = {}

    def ended(i):
        def f(err):
            assert i not in got
            got[i] = err.value
            return 1
        return f

    buffers, want = [], {}
    for i in range(0, 96, 3):
        buffers.append(nbd.Buffer(4 * K))
        h.aio_pread(buffers[-1], i // 3 % 16 * 4 * K, ended(i))
        h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(4 * K)), SIZE, ended(i + 1))
        h.aio_trim(513, 0, ended(i + 2))
        want.update({i: 0, i + 1: errno.ENOSPC, i + 2: errno.EINVAL})
    while h.aio_in_flight():
        h.poll(-1)
    assert got == want, {i: (got[i], want[i]) for i in want if got[i] != want[i]}
    for i, b in enumerate(buffers):
        assert b.to_bytearray() == pattern(64 * K)[i % 16 * 4 * K:(i % 16 + 1) * 4 * K]
    h.shutdown()
