# SPDX-License-Identifier: Apache-2.0
#
# WRITE: it is on the disk, where it belongs and nowhere else, and 32 MiB at once.
from common import *

for structured in (True, False):
    h = connect(structured=structured)
    for at, n in ((512, 512), (3 * K, 5 * K), (2 * M, 256 * K), (SIZE - 4 * K, 4 * K), (16 * M, 32 * M)):
        data = pattern(n, at)
        h.zero(min(n + 1024, SIZE - at + 512), at - 512)
        h.pwrite(data, at)
        assert h.pread(n, at) == data
        assert h.pread(512, at - 512) == bytes(512)
        if at + n < SIZE:
            assert h.pread(512, at + n) == bytes(512)
        with open(FILE, "rb") as f:
            f.seek(at)
            assert f.read(n) == data
    h.shutdown()
