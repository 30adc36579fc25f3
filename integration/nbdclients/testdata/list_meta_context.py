# SPDX-License-Identifier: Apache-2.0
#
# LIST_META_CONTEXT: all, those of a namespace, one, none; it selects nothing.
from common import *


def listed(h, *queries):
    h.clear_meta_contexts()
    for q in queries:
        h.add_meta_context(q)
    names = []
    assert h.opt_list_meta_context(names.append) == len(names)
    return names


h = connect(opt_mode=True)
assert listed(h) == [ALLOCATION, PATHS]
assert listed(h, "base:") == [ALLOCATION]
assert listed(h, "pathgate:") == [PATHS]
assert listed(h, PATHS) == [PATHS]
assert listed(h, "x-none:", "base:other") == []
assert listed(h, "x-none:", PATHS, ALLOCATION, ALLOCATION) == [ALLOCATION, PATHS]
h.clear_meta_contexts()
h.opt_go()
assert not h.can_meta_context(ALLOCATION)
alive(h)
h.shutdown()
