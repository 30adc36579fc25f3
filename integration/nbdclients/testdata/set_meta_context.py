# SPDX-License-Identifier: Apache-2.0
#
# SET_META_CONTEXT: what INFO and GO ask for counts, the last one alone, and no namespaces.
from common import *

h = connect(opt_mode=True, contexts=[ALLOCATION])
h.opt_info()
assert h.can_meta_context(ALLOCATION) and not h.can_meta_context(PATHS)
h.clear_meta_contexts()
h.add_meta_context(PATHS)
h.add_meta_context("base:")
h.opt_go()
assert h.can_meta_context(PATHS) and not h.can_meta_context(ALLOCATION)
assert status(h, M, 0) == {PATHS: [(M, 0)]}
h.shutdown()
