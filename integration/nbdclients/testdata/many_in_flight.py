# SPDX-License-Identifier: Apache-2.0
#
# 64 requests in flight of all kinds, over two connections; each is answered once.
from common import *

a, b = connect(contexts=[ALLOCATION]), connect(structured=False)
done = []


def ended(err):
    assert err.value == 0
    done.append(1)
    return 1


buffers = {i: nbd.Buffer.from_bytearray(bytearray(pattern(64 * K, i))) for i in range(64)}
for i in range(64):
    (a, b)[i % 2].aio_pwrite(buffers[i], i * M, ended)
for h in (a, b):
    while h.aio_in_flight():
        h.poll(-1)
assert len(done) == 64
for h in (a, b):
    back = {}
    for i in range(64):
        back[i] = nbd.Buffer(64 * K)
        h.aio_pread(back[i], i * M, ended)
        h.aio_flush(ended)
        h.aio_cache(4 * K, i * M, ended)
    while h.aio_in_flight():
        h.poll(-1)
    for i in range(64):
        assert back[i].to_bytearray() == pattern(64 * K, i), i
assert len(done) == 64 + 2 * 3 * 64
a.shutdown()
b.shutdown()
