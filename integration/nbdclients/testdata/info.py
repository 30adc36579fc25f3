# SPDX-License-Identifier: Apache-2.0
#
# INFO tells all of an export, of another one then, and GO the same.
from common import *


def facts(h):
    return [h.get_size(), h.is_read_only(), h.can_flush(), h.can_fua(), h.can_trim(), h.can_zero(), h.can_fast_zero(),
            h.can_df(), h.can_multi_conn(), h.can_cache(), h.is_rotational(), h.get_canonical_export_name(),
            h.get_block_size(nbd.SIZE_MINIMUM), h.get_block_size(nbd.SIZE_PREFERRED), h.get_block_size(nbd.SIZE_MAXIMUM)]


h = connect(export="vm1/ro", opt_mode=True)
h.set_full_info(True)
h.opt_info()
got = facts(h)
assert got == [8 * M, True, True, True, False, False, False, True, True, True, False, "vm1/ro", 512, 4096, 32 * M], got
h.set_export_name("vm1/none")
refused(errno.ENOENT, h.opt_info)
h.set_export_name("vm1/4k")
h.opt_info()
assert [h.get_block_size(nbd.SIZE_MINIMUM), h.get_block_size(nbd.SIZE_PREFERRED)] == [4096, 4096]
h.set_export_name(EXPORT)
h.opt_info()
asked = facts(h)
assert asked == [SIZE, False, True, True, True, True, True, True, True, True, False, EXPORT, 512, 4096, 32 * M], asked
h.opt_go()
assert facts(h) == asked
alive(h)
h.shutdown()
