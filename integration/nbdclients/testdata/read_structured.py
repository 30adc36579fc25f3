# SPDX-License-Identifier: Apache-2.0
#
# READ in chunks: together they cover the range once, and zeros come as holes.
from common import *

h = connect()
assert h.get_structured_replies_negotiated()
data = pattern(64 * K)
h.pwrite(data, 0)
got, seen = chunks(h, 256 * K, 0)
assert got == data + bytes(192 * K)
at = 0
for offset, length, kind in seen:
    assert offset == at and length > 0, seen
    assert kind == (nbd.READ_DATA if offset < 64 * K else nbd.READ_HOLE), seen
    at += length
assert at == 256 * K, seen
got, seen = chunks(h, M, 16 * M)
assert got == bytes(M)
assert seen == [(16 * M, M, nbd.READ_HOLE)], seen
h.shutdown()
