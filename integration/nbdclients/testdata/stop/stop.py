# SPDX-License-Identifier: Apache-2.0
#
# A client that goes on reading while the gateway stops. It prints how it ended: SHUTDOWN if
# it was told, CLOSED if not. Any other error is one that a disk would have.
from common import *

h = connect()
h.pread(4 * K, 0)
print("reading", flush=True)
told = False
while True:
    try:
        h.pread(4 * K, 0)
        assert not told, "a read was carried out after a refusal"
    except nbd.Error as e:
        if e.errnum == errno.ESHUTDOWN:
            told = True
            if h.aio_is_ready():
                continue
        assert h.aio_is_dead() or h.aio_is_closed(), e
        break
print("SHUTDOWN" if told else "CLOSED", flush=True)
