# SPDX-License-Identifier: Apache-2.0
#
# Each pair of handshake flags. Without FIXED_NEWSTYLE libnbd asks by EXPORT_NAME, with or
# without the 124 zeroes behind the answer.
from common import *

fixed, short = nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE, nbd.HANDSHAKE_FLAG_NO_ZEROES
data = pattern(64 * K)
for flags in (0, short, fixed, fixed | short):
    h = connect(handshake=flags)
    assert h.get_handshake_flags() == flags
    assert h.get_protocol() == ("newstyle-fixed" if flags & fixed else "newstyle"), h.get_protocol()
    assert h.get_structured_replies_negotiated() == (flags & fixed != 0)
    assert h.get_size() == SIZE and not h.is_read_only() and h.can_trim() and h.can_multi_conn()
    h.pwrite(data, M)
    assert h.pread(64 * K, M) == data
    h.shutdown()
